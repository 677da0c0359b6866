/** Scripts for the demo model, and how an answer that it wrote is checked. */
import assert from "node:assert/strict";
import type { Locator, Page } from "playwright-core";

/** Many different words, so that a lost, doubled or swapped piece shows. */
export const words = Array.from({ length: 60 }, (_, n) => `word${String(n).padStart(2, "0")}`);

/** A turn that says all words, one after the other. */
export function slowly(name: string, delayMs: number): Record<string, unknown> {
  return { text: `${name} ${words.join(" ")} end-of-${name}`, chunks: words.length, delay_ms: delayMs };
}

export async function play(page: Page, turns: Record<string, unknown>[]): Promise<void> {
  await send(page, `@demo ${JSON.stringify(turns)}`);
}

export async function send(page: Page, text: string, key = "Enter"): Promise<void> {
  await page.getByTestId("composer").fill(text);
  await page.getByTestId("composer").press(key);
}

/** What the agent said; a prompt holds the same words, so it is looked for among the agent's messages. */
export function said(page: Page, text: string): Locator {
  return page.getByTestId("agent-message").filter({ hasText: text });
}

export async function idle(page: Page): Promise<void> {
  await page.locator("[data-testid=chat][data-activity=idle]").waitFor({ timeout: 60_000 });
}

/** Every word stands in the text exactly once, and in its place. */
export function whole(text: string | null): void {
  assert.deepEqual(
    (text ?? "").match(/word\d\d/g) ?? [],
    words,
    "the words stand there once, in their order",
  );
}
