import { useTranslation } from "react-i18next";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";

interface Props {
  path: string;
  kind: string;
  onConfirm: () => void;
  onClose: () => void;
}

/** Kinds of which it is worth saying what a restart of one means. */
const SPECIAL = ["agent", "session", "connection", "runner", "user"] as const;

export function ConfirmRestart({ path, kind, onConfirm, onClose }: Props) {
  const { t } = useTranslation();
  const special = SPECIAL.find((one) => one === kind);
  return (
    <Dialog title={t("actors.restart.title")} onClose={onClose} className="w-[min(30rem,calc(100vw-1.5rem))]">
      <div className="px-5 pb-5">
        <p className="mt-1 font-mono text-sm break-all">{path}</p>
        <p className="mt-3 text-soft">
          {special ? t(`actors.restart.of.${special}`) : t("actors.restart.of.other")}
        </p>
        <p className="mt-2 text-sm text-faint">{t("actors.restart.free")}</p>
        <div className="mt-5 flex justify-end gap-2">
          <Button tone="quiet" onClick={onClose}>
            {t("cancel")}
          </Button>
          <Button tone="danger" onClick={onConfirm} data-testid="confirm-restart">
            {t("actors.restart.confirm")}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
