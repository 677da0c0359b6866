/** Messages of one actor and all below it, as they are handled. */
import { Play, Square } from "lucide-react";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { Trace } from "@/lib/actors/trace";
import { schedule } from "@/lib/client";
import { micros, time } from "@/lib/format";
import { usePrefs } from "@/lib/prefs";
import { sentence } from "@/lib/sentence";
import type { Traced } from "@/lib/wire";
import { Button } from "@/ui/Button";
import { cx } from "@/ui/cx";

export function TraceView({ path }: { path: string }) {
  const { t } = useTranslation();
  const language = usePrefs((prefs) => prefs.language);
  const trace = useMemo(() => new Trace(path, schedule), [path]);
  const view = useSyncExternalStore(trace.subscribe, trace.snapshot);
  useEffect(() => () => trace.stop(), [trace]);
  const running = view.status === "running" || view.status === "starting";

  return (
    <section aria-label={t("actors.trace.title")} data-testid="trace" data-status={view.status}>
      <div className="flex items-center gap-3">
        <h3 className="flex-1 text-sm font-semibold">{t("actors.trace.title")}</h3>
        <Button
          className="h-8"
          data-testid="trace-toggle"
          onClick={() => (running ? trace.stop() : trace.start())}
        >
          {running ? <Square size={13} /> : <Play size={13} />}
          {running ? t("actors.trace.stop") : t("actors.trace.start")}
        </Button>
      </div>
      <p className="mt-1 text-xs text-faint tabular-nums" data-testid="trace-counts">
        {view.status === "off"
          ? t("actors.trace.lead")
          : `${t("actors.trace.received", { count: view.received })}${
              view.dropped > 0 ? ` · ${t("actors.trace.dropped", { count: view.dropped })}` : ""
            }${view.received > view.messages.length ? ` · ${t("actors.trace.shown", { count: view.messages.length })}` : ""}`}
      </p>
      {(view.error || view.broken) && (
        <p role="alert" className="mt-2 rounded-lg bg-warn-wash px-3 py-2 text-sm text-warn">
          {view.error ? sentence(view.error) : t("actors.trace.broken")}
        </p>
      )}
      {view.lost.map((lost) => (
        <p key={`${lost.path} ${lost.reason}`} className="mt-2 text-xs text-warn">
          {t("actors.trace.lost", lost)}
        </p>
      ))}
      {running && view.received === 0 && <p className="mt-2 text-sm text-faint">{t("actors.trace.quiet")}</p>}
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
    </section>
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
