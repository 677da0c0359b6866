/**
 * Each event of a session on its way from the agent to the sockets, with a time for each hop. Bounded: the
 * newest stay, and what was lost on the way is counted.
 */
import type { EventPath, PathLine } from "../wire";
import { LineStream, type StreamView } from "./line-stream";

/** Events that are kept. */
export const MAX_EVENTS = 100;

/** The stations of an event, in order: each time is from the one before. */
export const HOPS = ["translated", "committed", "sent", "received", "queued", "taken", "written"] as const;
export type Hop = (typeof HOPS)[number];

export interface EventPathView extends StreamView {
  /** Newest last. */
  events: readonly EventPath[];
  /** How many came. */
  received: number;
  /** Hops that were lost, because they came faster than they were read. */
  dropped: number;
  /** Runner and octo read the same clock; otherwise nothing is said of what lies between them. */
  oneClock: boolean;
}

const OFF: EventPathView = {
  status: "off",
  events: [],
  received: 0,
  dropped: 0,
  oneClock: true,
  error: null,
  broken: false,
};

export class EventPaths extends LineStream<PathLine, EventPathView> {
  /** `path` is that of the session, on either side of the link, or of its agent. */
  constructor(path: string, schedule: (run: () => void) => void) {
    super(`/actors/event-path?path=${encodeURIComponent(path)}`, OFF, schedule);
  }

  protected after(lines: PathLine[]): Partial<EventPathView> {
    let { received, dropped, oneClock } = this.view;
    const events: EventPath[] = [];
    for (const line of lines) {
      if (line === "quiet") continue;
      if ("event" in line) {
        received += 1;
        events.push(line.event);
      } else if ("dropped" in line) dropped = line.dropped;
      else oneClock = line.begun.one_clock;
    }
    return { events: [...this.view.events, ...events].slice(-MAX_EVENTS), received, dropped, oneClock };
  }
}

/** Whether the events of the actor at `path` can be looked at: it is a session's, or its agent. */
export function hasEventPath(path: string): boolean {
  return /^\/users\/[^/]+\/(?:runner\/)?sessions\/[^/]+(?:\/agent)?$/.test(path);
}

/** Microseconds of each hop; null where it is not known. Of several sockets the slowest. */
export function hopTimes(event: EventPath): Record<Hop, number | null> {
  const slowest = event.sockets.reduce<(typeof event.sockets)[number] | null>(
    (slow, socket) =>
      !slow || socket.taken_us + socket.written_us > slow.taken_us + slow.written_us ? socket : slow,
    null,
  );
  return {
    translated: event.translated_us ?? null,
    committed: event.committed_us ?? null,
    sent: event.sent_us ?? null,
    received: event.received_us ?? null,
    queued: event.queued_us,
    taken: slowest?.taken_us ?? null,
    written: slowest?.written_us ?? null,
  };
}
