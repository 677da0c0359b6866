/**
 * octo is killed in mid-stream and started again: the reader sees a banner meanwhile, and afterwards the
 * whole answer once, on the same page. What was written meanwhile is sent, once.
 *
 * Whoever runs this kills and starts octo when a line on stdout asks for it.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { complaints, DESKTOP, env, journey, newPage, newSession, open } from "./browser.ts";
import { idle, play, said, send, slowly, whole } from "./demo.ts";

await journey(async (browser) => {
  const page = await newPage(await browser.newContext(DESKTOP));
  const found = complaints(page);
  await open(page, "/");
  await newSession(page, env("OCTO_WORKSPACE"));
  // A mark that a reload would wipe off.
  await page.evaluate(() => document.body.setAttribute("data-mark", "same page"));
  await play(page, [slowly("answer", 130)]);
  await said(page, "word05").waitFor({ timeout: 60_000 });

  process.stdout.write("ask: kill\n");
  const banner = page.locator("[data-testid=connection] button");
  await banner.waitFor({ timeout: 30_000 });
  assert.equal(await said(page, "word05").count(), 1, "what was there stays there");
  await page.screenshot({ path: join(env("OCTO_SHOTS", "."), "desktop-octo-away.png") });
  await send(page, "written while octo was away", "Alt+Enter");

  process.stdout.write("ask: start\n");
  await banner.waitFor({ state: "hidden", timeout: 60_000 });
  await said(page, "end-of-answer").waitFor({ timeout: 60_000 });
  whole(await said(page, "word00").textContent());
  await page.getByTestId("user-message").nth(1).waitFor({ timeout: 60_000 });
  await idle(page);
  assert.equal(await page.getByTestId("user-message").filter({ hasText: "octo was away" }).count(), 1);
  assert.equal(await page.getByTestId("pending-message").count(), 0, "nothing waits any more");
  assert.equal(await page.locator("body").getAttribute("data-mark"), "same page", "the page was never left");
  const other = found.filter((text) => !/ERR_CONNECTION_REFUSED|WebSocket connection/.test(text));
  assert.deepEqual(other, [], "the page had nothing to complain of but the absence of octo");
});
process.stdout.write("restart: all well\n");
