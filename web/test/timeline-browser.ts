/**
 * A long conversation on the screen: it opens at its end, follows a streaming answer, stays where one
 * scrolled to, and older messages come in above without moving what is read. Runs against the fake server.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { complaints, DESKTOP, launch, open } from "../e2e/browser.ts";
import { startFakeServer, USER } from "./fake-server.ts";
import { message } from "./story.ts";

const LENGTH = 450;
const server = await startFakeServer({ dist: fileURLToPath(new URL("../dist", import.meta.url)) });
Object.assign(process.env, {
  OCTO_URL: server.url,
  OCTO_USERNAME: USER.username,
  OCTO_PASSWORD: USER.password,
});
const { journal } = server.octo.create("ses_long", "/srv/octo", "A long conversation");
for (let n = 0; n < LENGTH; n += 1) {
  const text = `message ${n}. ${"It goes on for a while, and then some more. ".repeat(1 + (n % 7))}`;
  journal.append({
    event: "stream.message_end",
    message: message(`m${n}`, n, n % 2 ? "assistant" : "user", text),
  });
}

const browser = await launch();
try {
  const page = await (await browser.newContext(DESKTOP)).newPage();
  const found = complaints(page);
  await open(page, "/s/ses_long");
  const timeline = page.getByTestId("timeline");
  const fromEnd = () => timeline.evaluate((e) => e.scrollHeight - e.scrollTop - e.clientHeight);
  const rest = () => page.waitForTimeout(400);

  await timeline.getByText(`message ${LENGTH - 1}.`).waitFor();
  await rest();
  assert.ok((await fromEnd()) < 5, "a conversation opens at its end");
  const drawn = await page.locator("[data-testid=user-message], [data-testid=agent-message]").count();
  assert.ok(drawn < 60, `only what is near the screen is in the page, not ${drawn} rows`);

  await page.getByTestId("composer").fill("a long answer, please");
  await page.keyboard.press("Enter");
  await page.locator("[data-testid=agent-message][data-live]").waitFor();
  for (let n = 0; n < 8; n += 1) {
    await page.waitForTimeout(250);
    assert.ok((await fromEnd()) < 40, `the screen follows the answer (${await fromEnd()} px behind)`);
  }

  await timeline.hover();
  await page.mouse.wheel(0, -900);
  await rest();
  const top = await timeline.evaluate((e) => e.scrollTop);
  await page.waitForTimeout(900);
  assert.equal(await timeline.evaluate((e) => e.scrollTop), top, "who scrolled up stays there");
  server.cut();
  await page.waitForTimeout(900);
  assert.equal(await timeline.evaluate((e) => e.scrollTop), top, "a cut of the network moves nothing");
  await page.getByRole("button", { name: "Latest" }).click();
  await rest();
  assert.ok((await fromEnd()) < 40, "one click leads back to the end");
  await page.getByTestId("stop").click();
  await page.locator("[data-testid=chat][data-activity=idle]").waitFor();

  await timeline.hover();
  // Upwards in steps, as with a wheel; the first page held 200 messages.
  let oldest = LENGTH;
  for (let n = 0; n < 400 && oldest > 5; n += 1) {
    await page.mouse.wheel(0, -1400);
    await page.waitForTimeout(60);
    const texts = await page.getByTestId("timeline").textContent();
    const numbers = [...(texts ?? "").matchAll(/message (\d+)\./g)].map((match) => Number(match[1]));
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
      "the rows stand in their order",
    );
    oldest = Math.min(oldest, ...numbers);
  }
  assert.ok(oldest <= 5, `the beginning is reached, not only message ${oldest}`);
  assert.deepEqual(found, [], "the page had nothing to complain of");
} finally {
  await browser.close();
  await server.close();
}
process.stdout.write("timeline: all well\n");
