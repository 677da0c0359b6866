/** What a session's feed must not lose with the page: input without an answer, and what an abort gave back. */
import { Shelf } from "../kept";
import type { QueuedInput } from "../wire";
import type { Outbox } from "./outbox";

export interface Unsent {
  outbox: Outbox;
  parked: QueuedInput[];
}

/** Where it is kept; a part of `Shelf`, so that tests need no browser. */
export interface UnsentStore {
  get: (id: string) => Unsent | null;
  put: (id: string, unsent: Unsent | null) => void;
}

const MAX_SESSIONS = 24;
/** Images count too: what is larger is sent all the same, but forgotten when the page is closed before. */
const MAX_CHARS = 2 * 1024 * 1024;

/** Of this tab: another window sends its own. */
export const unsentShelf = new Shelf<Unsent>(() => sessionStorage, "unsent", MAX_SESSIONS, MAX_CHARS);
