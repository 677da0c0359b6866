/**
 * An answer of octo that goes on: one JSON value a line, read for as long as somebody looks. What was seen
 * stays when it ends.
 */
import { ApiError, failure } from "../api";

/** A line longer than this is none of octo's. */
const MAX_LINE_CHARS = 256 * 1024;

export interface StreamView {
  status: "off" | "starting" | "running" | "ended";
  /** Why octo refused it. */
  error: string | null;
  /** It ended, and nobody had stopped it. */
  broken: boolean;
}

export abstract class LineStream<Line, View extends StreamView> {
  protected view: View;
  private stopper: AbortController | null = null;
  private scheduled = false;
  private readonly listeners = new Set<() => void>();
  private readonly address: string;
  private readonly off: View;
  private readonly schedule: (run: () => void) => void;

  constructor(address: string, off: View, schedule: (run: () => void) => void) {
    this.address = address;
    this.off = off;
    this.view = off;
    this.schedule = schedule;
  }

  /** What the view is after these lines. */
  protected abstract after(lines: Line[]): Partial<View>;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): View => this.view;

  start(): void {
    if (this.stopper) return;
    const stopper = new AbortController();
    this.stopper = stopper;
    this.show({ ...this.off, status: "starting" });
    const over = (error: unknown) => {
      if (this.stopper !== stopper) return;
      this.stopper = null;
      stopper.abort();
      const refused = error instanceof ApiError ? error.message : null;
      this.change({ status: "ended", error: refused, broken: refused === null });
    };
    this.read(stopper.signal).then(over, over);
  }

  stop(): void {
    if (!this.stopper) return;
    this.stopper.abort();
    this.stopper = null;
    this.change({ status: "ended" });
  }

  private async read(signal: AbortSignal): Promise<void> {
    const response = await fetch(`/api${this.address}`, { credentials: "same-origin", signal });
    if (!response.ok) throw await failure(response, this.address);
    if (!response.body) return;
    this.change({ status: "running" });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > MAX_LINE_CHARS) throw new Error("octo sent something that is no line of its own");
      const read = lines.filter(Boolean).map((line) => JSON.parse(line) as Line);
      this.show({ ...this.view, ...this.after(read) });
    }
  }

  private change(change: Partial<StreamView>): void {
    this.show({ ...this.view, ...change });
  }

  private show(view: View): void {
    this.view = view;
    if (this.scheduled) return;
    this.scheduled = true;
    this.schedule(() => {
      this.scheduled = false;
      for (const listener of [...this.listeners]) listener();
    });
  }
}
