/** What happened to the actors while one looked: the newest first, each a way to its actor. */
import {
  ArrowDownToLine,
  CirclePause,
  Hourglass,
  LogOut,
  type LucideIcon,
  OctagonX,
  RotateCw,
  Undo2,
} from "lucide-react";
import { useTranslation } from "react-i18next";
import type { Change, ChangeKind } from "@/lib/actors/table";
import { time } from "@/lib/format";
import { usePrefs } from "@/lib/prefs";
import { cx } from "@/ui/cx";

const LOOKS: Record<ChangeKind, { icon: LucideIcon; tone: string }> = {
  restarted: { icon: RotateCw, tone: "text-warn" },
  restarting: { icon: RotateCw, tone: "text-warn" },
  degraded: { icon: OctagonX, tone: "text-bad" },
  stuck: { icon: Hourglass, tone: "text-bad" },
  recovered: { icon: Undo2, tone: "text-good" },
  stopping: { icon: CirclePause, tone: "text-faint" },
  came: { icon: ArrowDownToLine, tone: "text-faint" },
  gone: { icon: LogOut, tone: "text-faint" },
};

export function ChangeLog({
  changes,
  onOpen,
  className,
}: {
  changes: readonly Change[];
  onOpen: (path: string) => void;
  className?: string;
}) {
  const { t } = useTranslation();
  const language = usePrefs((prefs) => prefs.language);
  const word = useChangeWords();
  const loud = changes.findLast(
    (change) => change.what === "degraded" || change.what === "stuck" || change.what === "restarted",
  );
  return (
    <section
      aria-label={t("actors.log.title")}
      className={cx("min-h-0 overflow-y-auto", className)}
      data-testid="change-log"
    >
      <div className="sr-only" aria-live="polite">
        {loud && `${loud.path}: ${word(loud)}`}
      </div>
      {changes.length === 0 ? (
        <p className="px-4 py-3 text-sm text-faint">{t("actors.log.empty")}</p>
      ) : (
        <ol className="py-1">
          {changes.toReversed().map((change) => {
            const { icon: Icon, tone } = LOOKS[change.what];
            return (
              <li key={change.id}>
                <button
                  type="button"
                  data-testid="change"
                  data-what={change.what}
                  disabled={change.several}
                  onClick={() => onOpen(change.path)}
                  className="flex min-h-8 w-full items-center gap-2.5 px-4 text-left text-sm enabled:hover:bg-ink/4 disabled:cursor-default pointer-coarse:min-h-11"
                >
                  <time className="shrink-0 text-xs text-faint tabular-nums">
                    {time(change.at, language)}
                  </time>
                  <Icon size={14} aria-hidden className={cx("shrink-0", tone)} />
                  <span
                    className="min-w-20 shrink truncate font-mono text-[13px]"
                    title={change.path}
                    dir="rtl"
                  >
                    <bdi>{change.path}</bdi>
                  </span>
                  <span className={cx("shrink-0", tone)}>{word(change)}</span>
                  {change.error && (
                    <span className="min-w-0 shrink-[20] truncate text-xs text-faint">{change.error}</span>
                  )}
                </button>
              </li>
            );
          })}
        </ol>
      )}
    </section>
  );
}

/** What happened, in words. */
export function useChangeWords(): (change: Change) => string {
  const { t } = useTranslation();
  return (change) => {
    if (change.several) return t(`actors.log.several.${change.what}`, { count: change.count ?? 0 });
    return t(`actors.log.${change.what}`, { count: change.count ?? 0 });
  };
}
