/** Messages of one actor and all below it, as they are handled. */
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { Trace, type TraceView as View } from "@/lib/actors/trace";
import { schedule } from "@/lib/client";
import { micros, time } from "@/lib/format";
import { usePrefs } from "@/lib/prefs";
import type { Traced } from "@/lib/wire";
import { cx } from "@/ui/cx";
import { LiveSection } from "./LiveSection";

export function TraceView({ path }: { path: string }) {
  const { t } = useTranslation();
  const language = usePrefs((prefs) => prefs.language);
  const trace = useMemo(() => new Trace(path, schedule), [path]);
  const counts = (view: View) =>
    [
      t("actors.trace.received", { count: view.received }),
      view.dropped > 0 && t("actors.trace.dropped", { count: view.dropped }),
      view.received > view.messages.length && t("actors.stream.shown", { count: view.messages.length }),
    ]
      .filter(Boolean)
      .join(" · ");

  return (
    <LiveSection
      name="trace"
      title={t("actors.trace.title")}
      start={t("actors.trace.start")}
      lead={t("actors.trace.lead")}
      broken={t("actors.trace.broken")}
      quiet={t("actors.trace.quiet")}
      stream={trace}
      counts={counts}
      received={(view) => view.received}
    >
      {(view) => (
        <>
          {view.lost.map((lost) => (
            <p key={`${lost.path} ${lost.reason}`} className="mt-2 text-xs text-warn">
              {t("actors.trace.lost", lost)}
            </p>
          ))}
          {view.messages.length > 0 && (
            <ol className="mt-2 max-h-80 overflow-y-auto rounded-lg border bg-raised" tabIndex={0}>
              {view.messages.toReversed().map(({ id, at, message }) => (
                <li
                  key={id}
                  className="flex items-baseline gap-2 border-b border-line/60 px-2.5 py-1 text-xs last:border-0"
                >
                  <time className="shrink-0 text-faint tabular-nums">{time(at, language)}</time>
                  <span className="min-w-0 flex-1">
                    <span className="font-mono font-medium">{message.message}</span>{" "}
                    <span className="font-mono break-all text-faint">{relative(message.path, path)}</span>
                  </span>
                  <Outcome message={message} />
                  <span className="shrink-0 text-right tabular-nums" title={t("actors.trace.handled")}>
                    {micros(message.handled_us)}
                  </span>
                  <span
                    className="w-16 shrink-0 text-right text-faint tabular-nums"
                    title={t("actors.trace.queued")}
                  >
                    {message.queued_us === undefined ? "" : `+ ${micros(message.queued_us)}`}
                  </span>
                </li>
              ))}
            </ol>
          )}
        </>
      )}
    </LiveSection>
  );
}

function Outcome({ message }: { message: Traced }) {
  const { t } = useTranslation();
  if (message.outcome === "ok") return null;
  return (
    <span className={cx("shrink-0 rounded bg-bad-wash px-1 text-bad")}>
      {t(`actors.trace.outcome.${message.outcome}`)}
    </span>
  );
}

function relative(path: string, base: string): string {
  if (path === base) return "";
  return path.startsWith(`${base}/`) ? path.slice(base.length + 1) : path;
}
