/** Each event of a session as it goes from the agent to the sockets: a bar of its hops, and their times. */
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { EventPaths, HOPS, type Hop, hopTimes, type EventPathView as View } from "@/lib/actors/event-path";
import { schedule } from "@/lib/client";
import { micros } from "@/lib/format";
import type { EventPath } from "@/lib/wire";
import { cx } from "@/ui/cx";
import { LiveSection } from "./LiveSection";

/** One colour a process: the runner, the link, octo. */
const TONE: Record<Hop, string> = {
  translated: "bg-accent/40",
  committed: "bg-accent/70",
  sent: "bg-accent",
  received: "bg-info",
  queued: "bg-good/40",
  taken: "bg-good/70",
  written: "bg-good",
};

export function EventPathView({ path }: { path: string }) {
  const { t } = useTranslation();
  const paths = useMemo(() => new EventPaths(path, schedule), [path]);
  const [open, setOpen] = useState<number | null>(null);
  const counts = (view: View) =>
    [
      t("actors.eventPath.received", { count: view.received }),
      view.dropped > 0 && t("actors.eventPath.dropped", { count: view.dropped }),
      view.received > view.events.length && t("actors.stream.shown", { count: view.events.length }),
    ]
      .filter(Boolean)
      .join(" · ");

  return (
    <LiveSection
      name="event-path"
      title={t("actors.eventPath.title")}
      start={t("actors.eventPath.start")}
      lead={t("actors.eventPath.lead")}
      broken={t("actors.eventPath.broken")}
      quiet={t("actors.eventPath.quiet")}
      stream={paths}
      counts={counts}
      received={(view) => view.received}
    >
      {(view) => (
        <>
          {!view.oneClock && <p className="mt-2 text-xs text-warn">{t("actors.eventPath.twoClocks")}</p>}
          {view.events.length > 0 && (
            <>
              <Legend />
              <ol className="mt-2 max-h-80 overflow-y-auto rounded-lg border bg-raised" tabIndex={0}>
                {view.events.toReversed().map((event) => (
                  <Line
                    key={event.seq}
                    event={event}
                    longest={Math.max(...view.events.map(length))}
                    open={open === event.seq}
                    onToggle={() => setOpen(open === event.seq ? null : event.seq)}
                  />
                ))}
              </ol>
            </>
          )}
        </>
      )}
    </LiveSection>
  );
}

function Legend() {
  const { t } = useTranslation();
  return (
    <ul className="mt-2 flex flex-wrap gap-x-3 gap-y-1 text-xs text-faint">
      {HOPS.map((hop) => (
        <li key={hop} className="flex items-center gap-1.5">
          <span aria-hidden className={cx("size-2 rounded-full", TONE[hop])} />
          {t(`actors.eventPath.hop.${hop}`)}
        </li>
      ))}
    </ul>
  );
}

interface LineProps {
  event: EventPath;
  /** Microseconds of the longest way that is shown. */
  longest: number;
  open: boolean;
  onToggle: () => void;
}

function Line({ event, longest, open, onToggle }: LineProps) {
  const times = hopTimes(event);
  return (
    <li className="border-b border-line/60 text-xs last:border-0" data-testid="event-path-line">
      <button
        type="button"
        aria-expanded={open}
        className="flex w-full items-center gap-2 px-2.5 py-1 text-left hover:bg-sunken"
        onClick={onToggle}
      >
        <span className="w-10 shrink-0 text-right text-faint tabular-nums">{event.seq}</span>
        <span className="w-36 shrink-0 truncate font-mono font-medium">{event.event}</span>
        <span aria-hidden className="flex h-2 min-w-0 flex-1 overflow-hidden rounded-full">
          {HOPS.map((hop) => (
            <span
              key={hop}
              className={TONE[hop]}
              style={{ width: `${(100 * (times[hop] ?? 0)) / Math.max(1, longest)}%` }}
            />
          ))}
        </span>
        <span className="w-16 shrink-0 text-right tabular-nums">
          {micros(event.total_us ?? length(event))}
        </span>
      </button>
      {open && <Hops event={event} times={times} />}
    </li>
  );
}

function Hops({ event, times }: { event: EventPath; times: Record<Hop, number | null> }) {
  const { t } = useTranslation();
  const sockets = event.sockets.length + event.more_sockets;
  return (
    <div className="bg-sunken px-2.5 py-2" data-testid="event-path-hops">
      <dl className="grid grid-cols-[auto_1fr_auto] items-center gap-x-2 gap-y-1">
        {HOPS.map((hop) => (
          <div key={hop} className="contents">
            <span aria-hidden className={cx("size-2 rounded-full", TONE[hop])} />
            <dt>{t(`actors.eventPath.about.${hop}`)}</dt>
            <dd className="text-right tabular-nums">
              {times[hop] === null ? t("actors.eventPath.unknown") : micros(times[hop])}
            </dd>
          </div>
        ))}
      </dl>
      <p className="mt-2 text-faint">{t("actors.eventPath.sockets", { count: sockets })}</p>
    </div>
  );
}

/** Microseconds of all hops that are known. */
function length(event: EventPath): number {
  return Object.values(hopTimes(event)).reduce<number>((all, time) => all + (time ?? 0), 0);
}
