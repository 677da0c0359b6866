/** Text that was written and not sent yet, per session. It outlives the page. */
import { Shelf } from "@/lib/kept";

const MAX_DRAFTS = 50;
const MAX_DRAFT_CHARS = 64 * 1024;

const drafts = new Shelf<string>(() => localStorage, "draft", MAX_DRAFTS, MAX_DRAFT_CHARS);

export function keptDraft(sessionId: string): string {
  return drafts.get(sessionId) ?? "";
}

export function keepDraft(sessionId: string, text: string): void {
  drafts.put(sessionId, text || null);
}

export function forgetDraft(sessionId: string): void {
  drafts.put(sessionId, null);
}
