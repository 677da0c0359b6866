import { X } from "lucide-react";
import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { IconButton } from "@/ui/Button";
import { useUi } from "./ui-state";

const SHOWN_MS = 7_000;

export function Toast() {
  const { t } = useTranslation();
  const toast = useUi((ui) => ui.toast);
  const set = useUi((ui) => ui.set);

  useEffect(() => {
    if (!toast) return;
    const timer = setTimeout(() => set({ toast: null }), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [toast, set]);

  return (
    <div role="status" className="pointer-events-none fixed inset-x-0 top-16 z-50 flex justify-center px-4">
      {toast && (
        <div
          key={toast.id}
          data-testid="toast"
          className="rise pointer-events-auto flex max-w-lg items-center gap-2 rounded-xl border bg-raised py-2 pr-2 pl-4 text-sm shadow-xl shadow-(color:--shadow)"
        >
          <span>{toast.text}</span>
          <IconButton label={t("close")} onClick={() => set({ toast: null })}>
            <X size={15} />
          </IconButton>
        </div>
      )}
    </div>
  );
}
