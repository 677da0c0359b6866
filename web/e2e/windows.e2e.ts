/**
 * Two windows on one session see the same while it streams. Steering and follow-ups wait in a queue that both
 * show; a stop parks them for whoever stopped, over a reload too; each is sent again or dropped.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { complaints, DESKTOP, env, journey, newPage, newSession, open } from "./browser.ts";
import { idle, play, said, send, slowly, whole } from "./demo.ts";

await journey(async (browser) => {
  const context = await browser.newContext(DESKTOP);
  const one = await newPage(context);
  const two = await newPage(context);
  const found = [...complaints(one), ...complaints(two)];
  await open(one, "/");
  const id = await newSession(one, env("OCTO_WORKSPACE"));
  await open(two, `/s/${id}`);

  await play(one, [slowly("answer", 30)]);
  for (const page of [one, two]) {
    await said(page, "end-of-answer").waitFor({ timeout: 60_000 });
    await idle(page);
    whole(await said(page, "word00").textContent());
    assert.equal(await page.getByTestId("user-message").count(), 1, "the prompt is there once");
  }
  const texts = (page: typeof one) => page.getByTestId("agent-message").allTextContents();
  assert.deepEqual(await texts(one), await texts(two), "both windows show the same");

  await play(two, [slowly("second", 400)]);
  await said(one, "second word00 word01").waitFor({ timeout: 60_000 });
  await send(one, "rather this way");
  await send(two, "and then that", "Alt+Enter");
  for (const page of [one, two]) {
    const queue = page.getByTestId("queue");
    await queue.getByText("rather this way").waitFor();
    await queue.getByText("and then that").waitFor();
  }
  await one.getByTestId("stop").click();
  const parked = one.getByTestId("parked");
  await parked.waitFor();
  await Promise.all([idle(one), idle(two)]);
  assert.equal(await two.getByTestId("queue").count(), 0, "nothing waits after a stop");
  assert.deepEqual(await parked.locator("li span").allTextContents(), ["rather this way", "and then that"]);
  await one.screenshot({ path: join(env("OCTO_SHOTS", "."), "desktop-parked.png") });

  await one.reload();
  await parked.locator("li").nth(1).waitFor();
  await parked.locator("li").nth(1).locator("button").last().click();
  await parked.locator("li").first().locator("button").first().click();
  for (const page of [one, two]) {
    await page
      .getByTestId("user-message")
      .filter({ hasText: "rather this way" })
      .waitFor({ timeout: 60_000 });
  }
  assert.equal(await parked.count(), 0);
  const prompts = await one.getByTestId("user-message").allTextContents();
  assert.equal(
    prompts.filter((text) => text.includes("and then that")).length,
    0,
    "what was dropped never runs",
  );
  assert.deepEqual(found, [], "the pages had nothing to complain of");
});
process.stdout.write("windows: all well\n");
