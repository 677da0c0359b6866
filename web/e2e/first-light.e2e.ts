/**
 * First light: log in, make a session in a folder, let a real agent run a tool and stream an answer,
 * reload in mid-stream, and find the whole answer once.
 *
 *   OCTO_URL=… OCTO_USERNAME=… OCTO_PASSWORD=… OCTO_WORKSPACE=/some/folder [OCTO_SHOTS=DIR] node e2e/first-light.e2e.ts
 */
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Locator, Page } from "playwright-core";
import { complaints, DESKTOP, env, journey, newPage, newSession, open, PHONE } from "./browser.ts";

const workspace = env("OCTO_WORKSPACE");
const shots = env("OCTO_SHOTS", "e2e-shots");
const file = `first-light-${Date.now()}.txt`;

/** Many different words, so that a lost, doubled or swapped piece shows. */
const words = Array.from({ length: 60 }, (_, n) => `word${String(n).padStart(2, "0")}`);
const answer = `${words.join(" ")} end-of-answer`;
const turns = [
  {
    text: "I write the file first.",
    tools: [{ name: "bash", input: { command: `printf light > ${file}` } }],
  },
  { text: answer, chunks: 60, delay_ms: 100 },
];

/** The answer; the prompt holds its words too, so it is looked for among the agent's messages. */
function reply(page: Page, has: string): Locator {
  return page.getByTestId("agent-message").filter({ hasText: has });
}

/** Waits until the answer is under way, and says how many of its words are there. */
async function streaming(page: Page): Promise<number> {
  await reply(page, "word03").waitFor({ timeout: 60_000 });
  const text = (await reply(page, "word03").textContent()) ?? "";
  return words.filter((word) => text.includes(word)).length;
}

function once(text: string): void {
  for (const word of words) {
    assert.equal(text.split(word).length - 1, 1, `${word} stands in the answer exactly once`);
  }
  const found = text.match(/word\d\d/g) ?? [];
  assert.deepEqual(found, words, "the words stand in their order");
}

await mkdir(shots, { recursive: true });
await journey(async (browser) => {
  const context = await browser.newContext(DESKTOP);
  const page = await newPage(context);
  const found = complaints(page);
  await open(page, "/");
  await page.screenshot({ path: join(shots, "desktop-home.png") });
  const id = await newSession(page, workspace);
  await page.getByTestId("composer").fill(`@demo ${JSON.stringify(turns)}`);
  await page.keyboard.press("Enter");

  const tool = page.getByTestId("tool-card").first();
  await tool.waitFor({ timeout: 60_000 });
  const seen = await streaming(page);
  await page.screenshot({ path: join(shots, "desktop-streaming.png") });
  await page.reload();
  const again = await streaming(page);
  assert.ok(seen < words.length && again < words.length, "the reload fell into the stream");
  assert.ok(again >= seen, "nothing that was seen is gone after the reload");

  await reply(page, "end-of-answer").waitFor({ timeout: 60_000 });
  await page.locator("[data-testid=chat][data-activity=idle]").waitFor({ timeout: 30_000 });
  once((await reply(page, "word00").textContent()) ?? "");
  assert.equal(await page.getByTestId("user-message").count(), 1, "the prompt is there once");
  assert.equal(await page.getByTestId("tool-card").first().getAttribute("data-phase"), "success");
  assert.equal(await readFile(join(workspace, file), "utf8"), "light", "the tool really ran");
  await page.screenshot({ path: join(shots, "desktop-done.png") });
  assert.deepEqual(found, [], "the page had nothing to complain of");
  await context.close();

  const phone = await newPage(await browser.newContext(PHONE));
  await open(phone, `/s/${id}`);
  await reply(phone, "end-of-answer").waitFor();
  once((await reply(phone, "word00").textContent()) ?? "");
  await phone.screenshot({ path: join(shots, "phone-done.png") });
  const width = await phone.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, "nothing is wider than the phone");
});
process.stdout.write(`first light: all well; screenshots in ${shots}\n`);
