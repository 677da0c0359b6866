/**
 * The actors as a watch tells of them: rows, how fast they work, and what happened to them. Owned by an
 * `ActorFeed`; an actor is a value that is replaced when it changes, so that a list need not look into it.
 */
import type { ActorRow, ActorsFrame, LeftOut } from "../wire";
import { isWrongState } from "./trouble";

/** Changes that are remembered. */
export const MAX_CHANGES = 200;
/** Changes of one sort in one look that are named one by one; more are one entry with a number. */
export const MAX_NAMED = 12;

export type ChangeKind =
  | "restarted"
  | "degraded"
  | "stuck"
  | "restarting"
  | "recovered"
  | "stopping"
  | "came"
  | "gone";

export interface Change {
  id: number;
  /** The look that found it, by octo's clock. */
  at: number;
  what: ChangeKind;
  /** The actor, or what all of them are below. */
  path: string;
  kind: string;
  /** Of restarts: how many there were by then; of several actors: how many they are. */
  count?: number;
  /** Several actors at once. */
  several?: boolean;
  error?: string;
}

export interface Actor {
  row: ActorRow;
  /** The look in which it was different from the one before. */
  seen: number;
  /** Messages a second at `seen`; null in the first look. */
  rate: number | null;
  /** The newest thing that happened to it. */
  change: Change | null;
}

export class ActorTable {
  readonly actors = new Map<string, Actor>();
  /** Newest last. */
  changes: readonly Change[] = [];
  leftOut: readonly LeftOut[] = [];
  /** The newest look, by octo's clock; 0 before the first. */
  at = 0;
  /** Counts how often an actor came or went. */
  shape = 0;
  /** Whether there is a whole tree. */
  filled = false;
  private before = 0;
  private nextChange = 1;
  /** The paths of a first look whose pages are coming in. */
  private fresh: Set<string> | null = null;

  /** Takes what a look found. True when the look is whole. */
  apply(frame: ActorsFrame): boolean {
    if (frame.at !== this.at) {
      this.before = this.at;
      this.at = frame.at;
    }
    if (frame.first) this.fresh = new Set();
    if (frame.left_out) this.leftOut = frame.left_out;
    const found: Change[] = [];
    for (const row of frame.rows) {
      this.fresh?.add(row.path);
      this.put(row, found);
    }
    for (const path of frame.gone) this.remove(path, found);
    if (!frame.more) {
      if (this.fresh) {
        // A watch that begins again says all that is there, not what went meanwhile.
        for (const path of [...this.actors.keys()]) if (!this.fresh.has(path)) this.remove(path, found);
        this.fresh = null;
      }
    }
    // What was there at the beginning is not news.
    if (this.filled) this.remember(found);
    if (!frame.more) this.filled = true;
    return !frame.more;
  }

  /** Messages a second at the newest look; null when nothing is known yet. */
  rate(actor: Actor): number | null {
    // What a look does not mention has done nothing since the one before.
    return actor.seen === this.at ? actor.rate : 0;
  }

  private put(row: ActorRow, found: Change[]): void {
    const old = this.actors.get(row.path);
    const same = old !== undefined && row.processed >= old.row.processed;
    const seconds = (this.at - this.before) / 1000;
    const rate =
      same && this.before > 0 && seconds > 0 ? (row.processed - old.row.processed) / seconds : null;
    const what = old ? whatHappened(old.row, row) : (["came"] as const);
    const changes = what.map((kind) => this.change(kind, row));
    found.push(...changes);
    const news = this.filled ? changes.at(-1) : undefined;
    this.actors.set(row.path, { row, seen: this.at, rate, change: news ?? old?.change ?? null });
    if (!old) this.shape += 1;
  }

  private remove(path: string, found: Change[]): void {
    const old = this.actors.get(path);
    if (!old) return;
    this.actors.delete(path);
    this.shape += 1;
    found.push(this.change("gone", old.row));
  }

  private change(what: ChangeKind, row: ActorRow): Change {
    const change: Change = { id: this.nextChange++, at: this.at, what, path: row.path, kind: row.kind };
    if (what === "restarted" || what === "degraded") change.count = row.restarts;
    if (what !== "came" && what !== "recovered" && row.last_error) change.error = row.last_error;
    return change;
  }

  private remember(found: Change[]): void {
    if (found.length === 0) return;
    const kept: Change[] = [];
    for (const what of new Set(found.map((change) => change.what))) {
      const alike = found.filter((change) => change.what === what);
      const first = alike[0] as Change;
      if (alike.length <= MAX_NAMED) kept.push(...alike);
      else {
        const path = commonParent(alike.map((change) => change.path));
        kept.push({ id: first.id, at: first.at, what, path, kind: "", count: alike.length, several: true });
      }
    }
    this.changes = [...this.changes, ...kept.sort((a, b) => a.id - b.id)].slice(-MAX_CHANGES);
  }
}

/** What is worth telling of the way from one row to the next. */
function whatHappened(old: ActorRow, row: ActorRow): readonly ChangeKind[] {
  const what: ChangeKind[] = [];
  if (row.restarts > old.restarts) what.push("restarted");
  if (row.state !== old.state) {
    if (row.state === "degraded" || row.state === "stuck" || row.state === "restarting") what.push(row.state);
    else if (row.state === "stopping") what.push("stopping");
    else if (isWrongState(old.state) && row.state !== "stopped" && what.length === 0) what.push("recovered");
  }
  return what;
}

function commonParent(paths: string[]): string {
  const [first = "/", ...rest] = paths;
  let parts = first.split("/").slice(0, -1);
  for (const path of rest) {
    const other = path.split("/");
    const end = parts.findIndex((part, n) => other[n] !== part);
    if (end >= 0) parts = parts.slice(0, end);
  }
  return parts.join("/") || "/";
}
