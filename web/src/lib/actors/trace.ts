/** Messages as actors handle them. Bounded: the newest stay, and what was lost on the way is counted. */
import type { LeftOut, Traced, TraceLine } from "../wire";
import { LineStream, type StreamView } from "./line-stream";

/** Messages that are kept. */
export const MAX_MESSAGES = 200;

export interface Seen {
  id: number;
  /** By the browser's clock. */
  at: number;
  message: Traced;
}

export interface TraceView extends StreamView {
  /** Newest last. */
  messages: readonly Seen[];
  /** How many came. */
  received: number;
  /** Lost in octo or its runner, because they came faster than they were read. */
  dropped: number;
  /** Parts of the tree that are not traced. */
  lost: readonly LeftOut[];
}

const OFF: TraceView = {
  status: "off",
  messages: [],
  received: 0,
  dropped: 0,
  lost: [],
  error: null,
  broken: false,
};

export class Trace extends LineStream<TraceLine, TraceView> {
  constructor(path: string, schedule: (run: () => void) => void) {
    super(`/actors/trace?path=${encodeURIComponent(path)}`, OFF, schedule);
  }

  protected after(lines: TraceLine[]): Partial<TraceView> {
    let { received, dropped, lost } = this.view;
    const messages: Seen[] = [];
    const at = Date.now();
    for (const line of lines) {
      if (line === "quiet") continue;
      if ("message" in line) messages.push({ id: received++, at, message: line.message });
      else if ("dropped" in line) dropped = line.dropped;
      else lost = [...lost, line.lost].slice(-MAX_MESSAGES);
    }
    return { messages: [...this.view.messages, ...messages].slice(-MAX_MESSAGES), received, dropped, lost };
  }
}
