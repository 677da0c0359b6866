/** Text that was written and not sent yet, per session, for as long as the page lives. */
const drafts = new Map<string, string>();

const MAX_DRAFTS = 50;

export function keptDraft(sessionId: string): string {
  return drafts.get(sessionId) ?? "";
}

export function keepDraft(sessionId: string, text: string): void {
  drafts.delete(sessionId);
  if (text) drafts.set(sessionId, text);
  const oldest = drafts.keys().next().value;
  if (drafts.size > MAX_DRAFTS && oldest !== undefined) drafts.delete(oldest);
}

export function forgetDraft(sessionId: string): void {
  drafts.delete(sessionId);
}
