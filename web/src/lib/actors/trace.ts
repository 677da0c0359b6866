/**
 * Messages as actors handle them, read from octo line by line for as long as somebody looks. Bounded: the
 * newest stay, and what was lost on the way is counted.
 */
import { ApiError, failure } from "../api";
import type { LeftOut, Traced, TraceLine } from "../wire";

/** Messages that are kept. */
export const MAX_MESSAGES = 200;
/** A line longer than this is none of octo's. */
const MAX_LINE_CHARS = 256 * 1024;

export interface Seen {
  id: number;
  /** By the browser's clock. */
  at: number;
  message: Traced;
}

export interface TraceView {
  status: "off" | "starting" | "running" | "ended";
  /** Newest last. */
  messages: readonly Seen[];
  /** How many came. */
  received: number;
  /** Lost in octo or its runner, because they came faster than they were read. */
  dropped: number;
  /** Parts of the tree that are not traced. */
  lost: readonly LeftOut[];
  /** Why octo refused it. */
  error: string | null;
  /** It ended, and nobody had stopped it. */
  broken: boolean;
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

export class Trace {
  private view = OFF;
  private stopper: AbortController | null = null;
  private scheduled = false;
  private readonly listeners = new Set<() => void>();
  private readonly path: string;
  private readonly schedule: (run: () => void) => void;

  constructor(path: string, schedule: (run: () => void) => void) {
    this.path = path;
    this.schedule = schedule;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): TraceView => this.view;

  start(): void {
    if (this.stopper) return;
    const stopper = new AbortController();
    this.stopper = stopper;
    this.show({ ...OFF, status: "starting" });
    const over = (error: unknown) => {
      if (this.stopper !== stopper) return;
      this.stopper = null;
      stopper.abort();
      const refused = error instanceof ApiError ? error.message : null;
      this.show({ status: "ended", error: refused, broken: refused === null });
    };
    this.read(stopper.signal).then(over, over);
  }

  /** What was seen stays. */
  stop(): void {
    if (!this.stopper) return;
    this.stopper.abort();
    this.stopper = null;
    this.show({ status: "ended" });
  }

  private async read(signal: AbortSignal): Promise<void> {
    const address = `/actors/trace?path=${encodeURIComponent(this.path)}`;
    const response = await fetch(`/api${address}`, { credentials: "same-origin", signal });
    if (!response.ok) throw await failure(response, address);
    if (!response.body) return;
    this.show({ status: "running" });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > MAX_LINE_CHARS) throw new Error("octo sent something that is no trace");
      this.take(lines.filter(Boolean).map((line) => JSON.parse(line) as TraceLine));
    }
  }

  private take(lines: TraceLine[]): void {
    let { received, dropped, lost } = this.view;
    const messages: Seen[] = [];
    const at = Date.now();
    for (const line of lines) {
      if (line === "quiet") continue;
      if ("message" in line) messages.push({ id: received++, at, message: line.message });
      else if ("dropped" in line) dropped = line.dropped;
      else lost = [...lost, line.lost].slice(-MAX_MESSAGES);
    }
    this.show({
      messages: [...this.view.messages, ...messages].slice(-MAX_MESSAGES),
      received,
      dropped,
      lost,
    });
  }

  private show(change: Partial<TraceView>): void {
    this.view = { ...this.view, ...change };
    if (this.scheduled) return;
    this.scheduled = true;
    this.schedule(() => {
      this.scheduled = false;
      for (const listener of [...this.listeners]) listener();
    });
  }
}
