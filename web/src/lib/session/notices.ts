/** Quiet rows between the messages: retries, compaction, errors, what an agent wants known. Pure. */
import { sentence } from "../sentence";
import type { EventOf, SessionEvent } from "../wire";
import { failureOf } from "./parts";
import { type Item, MAX_NOTICES, type NoticeKind, type SessionState } from "./state";

/** One attempt after the other needs one row, and what says more takes the place of what says less. */
function replaces(kind: NoticeKind, before: NoticeKind): boolean {
  if (kind === "restarted") return before === "interrupted";
  if (kind === "retry" || kind === "retry_failed") return before === "retry" || before === "interrupted";
  return kind === "error" && before === "interrupted";
}

/** What a message or a row says of its own end needs no second row. */
function tells(last: Item | undefined, text: string): boolean {
  if (last?.kind === "message") return failureOf(last.message) === text;
  return last?.kind === "notice" && last.notice === "retry_failed" && last.text === text;
}

export function notice(
  state: SessionState,
  event: SessionEvent,
  kind: NoticeKind,
  text: string,
): SessionState {
  const id = `notice-${event.epoch ?? ""}-${event.seq ?? event.ts}-${kind}`;
  const last = state.items.at(-1);
  if ((kind === "error" || kind === "retry_failed") && tells(last, text)) return state;
  if (last?.kind === "notice" && replaces(kind, last.notice)) {
    const items = state.items.with(-1, { ...last, notice: kind, text, ts: event.ts });
    return { ...state, items };
  }
  let items = state.items;
  if (items.filter((item) => item.kind === "notice").length >= MAX_NOTICES) {
    const oldest = items.findIndex((item) => item.kind === "notice");
    items = items.toSpliced(oldest, 1);
  }
  return { ...state, items: [...items, { kind: "notice", id, notice: kind, text, ts: event.ts }] };
}

/** What somebody has read is gone: they are told why. A request that is made again says so by itself. */
export function interrupted(state: SessionState, event: EventOf<"stream.message_discarded">): SessionState {
  const last = state.items.at(-1);
  if (last?.kind === "notice" && last.notice === "retry") return state;
  return notice(state, event, "interrupted", sentence(event.reason));
}
