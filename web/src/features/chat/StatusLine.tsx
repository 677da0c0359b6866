import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { duration } from "@/lib/format";
import type { FeedView } from "@/lib/session/feed";

/** One line that says what goes on. It keeps its place when nothing does, so nothing jumps. */
export function StatusLine({ view }: { view: FeedView }) {
  const { t } = useTranslation();
  const { activity, phase, detail, unreachable, status, sync, requests } = view.session;
  const working = activity === "working";
  const since = useSince(working);
  const extra = Object.values(status).join(" · ");
  const settled = sync !== "snapshot" || view.failure !== null;

  return (
    <div
      role="status"
      data-testid="status-line"
      className="flex h-7 items-center gap-2.5 overflow-hidden px-1 text-sm whitespace-nowrap"
    >
      {unreachable !== null ? (
        <span className="truncate text-warn">{t("status.unreachable", { reason: unreachable })}</span>
      ) : working ? (
        <>
          <span aria-hidden="true" className="alive size-2 shrink-0 rounded-full bg-accent" />
          <span className="truncate text-soft">
            {requests.length > 0
              ? t("status.asking")
              : phase === "tool_running" && detail
                ? t("status.tool", { tool: detail })
                : t(`status.${phase ?? "generating"}`)}
          </span>
          <span aria-hidden="true" className="text-faint tabular-nums">
            {since >= 2000 && duration(since)}
          </span>
          {extra && <span className="truncate text-faint">{extra}</span>}
        </>
      ) : (
        <span className="truncate text-faint">{settled ? extra : t("status.loading")}</span>
      )}
    </div>
  );
}

function useSince(running: boolean): number {
  const [since, setSince] = useState(0);
  useEffect(() => {
    if (!running) return;
    const start = Date.now();
    setSince(0);
    const timer = setInterval(() => setSince(Date.now() - start), 1000);
    return () => clearInterval(timer);
  }, [running]);
  return running ? since : 0;
}
