/** What is wrong with an actor, if anything. Pure. */
import type { ActorRow } from "../wire";

/** A mailbox this full is worth a look. */
export const MAILBOX_FULL = 0.8;
/** An actor that was restarted is watched for so long. */
export const SHAKY_MS = 60_000;

/** `bad`: it does not do its work. `warn`: it may soon not. */
export type Trouble = "bad" | "warn" | null;

export function isWrongState(state: string): boolean {
  return state === "stuck" || state === "degraded" || state === "restarting";
}

export function mailboxFill(row: ActorRow): number {
  return row.mailbox_limit ? row.mailbox / row.mailbox_limit : 0;
}

/** `now` by octo's clock. */
export function troubleOf(row: ActorRow, now: number): Trouble {
  if (row.state === "stuck" || row.state === "degraded") return "bad";
  // What it says of itself: who only has less of something than it should still does its work.
  if (row.trouble) return row.kind === "connection" || row.kind === "agent" ? "warn" : "bad";
  if (row.state === "restarting" || mailboxFill(row) >= MAILBOX_FULL) return "warn";
  // Not the first start: it came back, and may go again.
  return row.restarts > 0 && now - row.started_at < SHAKY_MS ? "warn" : null;
}
