import { useTranslation } from "react-i18next";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";

interface Props {
  title: string;
  onConfirm: () => void;
  onClose: () => void;
}

export function ConfirmDelete({ title, onConfirm, onClose }: Props) {
  const { t } = useTranslation();
  return (
    <Dialog title={t("delete.title")} onClose={onClose} className="w-[min(27rem,calc(100vw-1.5rem))]">
      <div className="px-5 pb-5">
        <p className="mt-1 text-soft">{t("delete.text", { title })}</p>
        <div className="mt-5 flex justify-end gap-2">
          <Button tone="quiet" onClick={onClose}>
            {t("cancel")}
          </Button>
          <Button tone="danger" onClick={onConfirm} data-testid="confirm-delete">
            {t("delete.confirm")}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
