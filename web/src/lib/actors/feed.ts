/**
 * Watches the tree of actors over the mux for as long as somebody looks, and goes on by itself when the
 * connection was away: what it knows stays on the screen meanwhile, and is replaced, not doubled.
 */
import type { Mux, MuxStatus } from "../mux";
import type { ActorsFrame } from "../wire";
import { ActorTable } from "./table";

/** `loading`: octo was asked. `away`: what is shown is from before. `refused`: octo does not show it to this account. */
export type WatchStatus = "connecting" | "loading" | "live" | "away" | "refused";

export interface ActorView {
  status: WatchStatus;
  /** Why it was refused. */
  error: string | null;
  table: ActorTable;
  /** Add to the browser's clock to have octo's. */
  skew: number;
}

type WatchMux = Pick<Mux, "onStatus" | "onSystem" | "tellSystem" | "status">;

export class ActorFeed {
  private view: ActorView;
  private readonly table = new ActorTable();
  private readonly mux: WatchMux;
  private readonly schedule: (run: () => void) => void;
  private readonly now: () => number;
  private readonly listeners = new Set<() => void>();
  private watch = 0;
  private scheduled = false;
  private stop: (() => void) | null = null;

  constructor(mux: WatchMux, schedule: (run: () => void) => void, now: () => number = Date.now) {
    this.mux = mux;
    this.schedule = schedule;
    this.now = now;
    this.view = { status: "connecting", error: null, table: this.table, skew: 0 };
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Another object whenever something has changed. */
  readonly snapshot = (): ActorView => this.view;

  open(): void {
    if (this.stop) return;
    const stops = [
      this.mux.onStatus((status) => this.connection(status)),
      this.mux.onSystem((frame) => this.take(frame)),
    ];
    this.stop = () => {
      for (const stop of stops) stop();
    };
    this.connection(this.mux.status);
  }

  close(): void {
    if (!this.stop) return;
    this.stop();
    this.stop = null;
    this.watch += 1;
    this.mux.tellSystem({ type: "unwatch_actors" });
    // What is shown at the next opening is from before until octo says otherwise.
    if (this.view.status === "live") this.show({ status: "away" });
  }

  private get id(): string {
    return `actors-${this.watch}`;
  }

  private connection(status: MuxStatus): void {
    if (status === "open") {
      this.watch += 1;
      this.mux.tellSystem({ type: "watch_actors", id: this.id });
      if (!this.table.filled) this.show({ status: "loading" });
    } else if (this.view.status !== "refused") {
      this.show({ status: this.table.filled ? "away" : "connecting" });
    }
  }

  private take(frame: Record<string, unknown>): void {
    if (frame.id !== this.id) return;
    if (frame.type === "error") {
      this.show({ status: "refused", error: String(frame.error ?? "") });
    } else if (frame.type === "actors") {
      const whole = this.table.apply(frame as unknown as ActorsFrame);
      if (whole) this.show({ status: "live", error: null, skew: this.table.at - this.now() });
    }
  }

  private show(change: Partial<ActorView>): void {
    this.view = { ...this.view, ...change };
    if (this.scheduled) return;
    this.scheduled = true;
    this.schedule(() => {
      this.scheduled = false;
      for (const listener of [...this.listeners]) listener();
    });
  }
}
