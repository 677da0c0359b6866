/** Messages in a session's timeline: begun, finished, discarded, and older ones put in front. Pure. */
import type { Message, Removed, Role } from "../wire";
import type { Item, SessionState } from "./state";
import { toolsFromMessages } from "./tools";

export function startMessage(state: SessionState, id: string, role: Role, ts: number): SessionState {
  if (state.live[id] || state.items.some((item) => item.kind === "message" && item.id === id)) return state;
  return {
    ...state,
    items: [...state.items, { kind: "live", id }],
    live: { ...state.live, [id]: { id, role, startedAt: ts, parts: [] } },
  };
}

export function finishMessage(state: SessionState, message: Message): SessionState {
  const item: Item = { kind: "message", id: message.id, message };
  const at = indexOf(state.items, message.id);
  const items = state.items.slice();
  if (at >= 0) items[at] = item;
  else items.push(item);
  const accepted = message.client_id
    ? state.accepted.filter((a) => a.clientId !== message.client_id)
    : state.accepted;
  return {
    ...state,
    items,
    accepted,
    live: without(state.live, message.id),
    tools: toolsFromMessages(state.tools, [message]),
  };
}

export function discardMessage(state: SessionState, id: string): SessionState {
  return {
    ...state,
    items: state.items.filter((item) => !(item.kind === "live" && item.id === id)),
    live: without(state.live, id),
  };
}

/** Puts a page of older messages in front; what is there already is not doubled. */
export function prependMessages(
  state: SessionState,
  older: Message[],
  hasMore: boolean,
  removed: Removed | null = state.removed,
): SessionState {
  const known = new Set(state.items.flatMap((item) => (item.kind === "message" ? [item.id] : [])));
  const fresh = older.filter((message) => !known.has(message.id)).sort((a, b) => a.idx - b.idx);
  const items: Item[] = fresh.map((message) => ({ kind: "message", id: message.id, message }));
  return {
    ...state,
    hasMore: hasMore && fresh.length > 0,
    removed,
    items: [...items, ...state.items],
    tools: toolsFromMessages(state.tools, fresh),
  };
}

/** The index of the oldest finished message, by which older ones are asked for. */
export function oldestIdx(state: SessionState): number | null {
  for (const item of state.items) if (item.kind === "message") return item.message.idx;
  return null;
}

function indexOf(items: Item[], id: string): number {
  // From the end: a message that is finished is nearly always one of the last.
  for (let i = items.length - 1; i >= 0; i -= 1) {
    const item = items[i];
    if (item && item.kind !== "notice" && item.id === id) return i;
  }
  return -1;
}

function without<T>(record: Record<string, T>, key: string): Record<string, T> {
  if (!(key in record)) return record;
  const { [key]: _, ...rest } = record;
  return rest;
}
