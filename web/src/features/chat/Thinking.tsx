import { ChevronRight } from "lucide-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { cx } from "@/ui/cx";

/** An agent's reasoning: one quiet line, the whole on request. The line keeps its height while it streams. */
export function Thinking({ text, live }: { text: string; live: boolean }) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const last = text.trimEnd().slice(-240).split("\n").at(-1) ?? "";
  return (
    <div data-testid="thinking" className="text-sm text-faint">
      <button
        type="button"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        className="flex max-w-full items-center gap-1.5 rounded-md py-0.5 hover:text-soft pointer-coarse:min-h-10"
      >
        <ChevronRight size={14} className={cx("shrink-0 transition-transform", open && "rotate-90")} />
        <span className="shrink-0">{live ? t("thinking.live") : t("thinking.done")}</span>
        {live && !open && <span className="min-w-0 truncate italic">{last}</span>}
      </button>
      {open && (
        <div className="mt-1 ml-1.5 border-l-2 pl-3.5 whitespace-pre-wrap [overflow-wrap:anywhere]">
          {text}
        </div>
      )}
    </div>
  );
}
