/**
 * The rules of section 2 of the protocol: which journalled event counts, which is a repeat, and
 * which shows that something was lost. Pure.
 */
import type { SessionEvent } from "../wire";
import type { SessionState } from "./state";

export type Verdict = "take" | "ignore" | "gap";

/** Judges an event that carries a sequence number against the state of the stream. */
export function judge(state: SessionState, event: SessionEvent): Verdict {
  const { cursor, sync } = state;
  if (event.seq === undefined) return "take";
  if (sync === "snapshot" || cursor === null) return "ignore";
  if (event.epoch !== undefined && cursor.epoch !== "" && event.epoch !== cursor.epoch) return "gap";
  if (event.seq <= cursor.seq) return "ignore";
  if (sync === "replay" || event.seq === cursor.seq + 1) return "take";
  return "gap";
}

/** Moves the cursor over an event that was taken. A contiguous event after a gap heals it. */
export function advance(state: SessionState, event: SessionEvent): SessionState {
  if (event.seq === undefined) return state;
  const epoch = event.epoch ?? state.cursor?.epoch ?? "";
  const sync = state.sync === "gap" ? "live" : state.sync;
  return { ...state, sync, cursor: { epoch, seq: event.seq } };
}

/**
 * A heartbeat tells the journal's epoch and its head. Another epoch is another journal. Events may be a little behind it, but not by a whole beat:
 * what the last beat announced must have arrived by this one, or it was the last and got lost.
 */
export function heartbeat(
  state: SessionState,
  epoch: string | undefined,
  head: number | undefined,
): SessionState {
  if (head === undefined || state.cursor === null || state.sync !== "live") return state;
  const other = epoch !== undefined && state.cursor.epoch !== "" && epoch !== state.cursor.epoch;
  if (other || state.cursor.seq < state.head) return { ...state, sync: "gap", head: 0 };
  return head === state.head ? state : { ...state, head };
}

/** A socket ended: a replay it was in the middle of will be begun again from the cursor. */
export function disconnected(state: SessionState): SessionState {
  const sync = state.sync === "replay" || state.sync === "gap" ? "live" : state.sync;
  const unchanged = sync === state.sync && state.head === 0 && state.unreachable === null;
  return unchanged ? state : { ...state, sync, head: 0, unreachable: null };
}
