/** Errors as people read them. Providers answer with JSON, which agents pass on as it is. Pure. */

/** `500 {"error":{"message":"overloaded"}}` → `Overloaded (500)`; other text keeps its words. */
export function sentence(text: string): string {
  const at = text.indexOf("{");
  const said = at < 0 ? null : messageIn(text.slice(at));
  if (said === null) return capital(text);
  const before = text
    .slice(0, at)
    .trim()
    .replace(/[:·-]$/, "")
    .trim();
  return capital(before && !said.includes(before) ? `${said} (${before})` : said);
}

function messageIn(json: string): string | null {
  try {
    const body = JSON.parse(json) as { error?: unknown; message?: unknown };
    const inner = body.error !== null && typeof body.error === "object" ? body.error : body;
    const { message } = inner as { message?: unknown };
    if (typeof message === "string" && message !== "") return message;
    return typeof body.error === "string" ? body.error : null;
  } catch {
    return null;
  }
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
