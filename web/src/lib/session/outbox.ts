/**
 * Input on its way to octo. An entry stays until octo has answered it; after a reconnect it is sent
 * again with the same `client_id`, which runs it once at most. Pure.
 */
import type { ImageInput, InputKind } from "../wire";

export interface Outgoing {
  clientId: string;
  kind: InputKind;
  message: string;
  images: ImageInput[];
  /** Set when octo refused it: the person may send it again or take it back. */
  failed: string | null;
}

/** More than this unanswered at once is refused at the composer. */
export const MAX_OUTGOING = 32;

export type Outbox = readonly Outgoing[];

export function add(outbox: Outbox, entry: Omit<Outgoing, "failed">): Outbox {
  return [...outbox, { ...entry, failed: null }];
}

export function remove(outbox: Outbox, clientId: string): Outbox {
  return outbox.some((entry) => entry.clientId === clientId)
    ? outbox.filter((entry) => entry.clientId !== clientId)
    : outbox;
}

export function fail(outbox: Outbox, clientId: string, reason: string): Outbox {
  return outbox.map((entry) => (entry.clientId === clientId ? { ...entry, failed: reason } : entry));
}

export function retry(outbox: Outbox, clientId: string): Outbox {
  return outbox.map((entry) => (entry.clientId === clientId ? { ...entry, failed: null } : entry));
}

/** What is to be sent again after a reconnect, in the order it was written. */
export function unanswered(outbox: Outbox): Outgoing[] {
  return outbox.filter((entry) => entry.failed === null);
}
