/** Quiet rows between the messages: retries, compaction, errors, what an agent wants known. Pure. */
import type { SessionEvent } from "../wire";
import { MAX_NOTICES, type NoticeKind, type SessionState } from "./state";

export function notice(
  state: SessionState,
  event: SessionEvent,
  kind: NoticeKind,
  text: string,
): SessionState {
  const id = `notice-${event.epoch ?? ""}-${event.seq ?? event.ts}-${kind}`;
  let items = state.items;
  if (items.filter((item) => item.kind === "notice").length >= MAX_NOTICES) {
    const oldest = items.findIndex((item) => item.kind === "notice");
    items = items.toSpliced(oldest, 1);
  }
  return { ...state, items: [...items, { kind: "notice", id, notice: kind, text, ts: event.ts }] };
}
