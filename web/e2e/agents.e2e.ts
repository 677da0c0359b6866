/**
 * The dialog of a new session shows every agent that octo knows: one that is not installed cannot be chosen and says how to get it.
 * Models show what fits into them and what they cost. By mouse, by keyboard, on a phone, light and dark.
 *
 * The server has pi and the agent `next`, not Claude Code, and the priced model corp/m1, which is offered to pi alone.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { complaints, DESKTOP, env, journey, newPage, open, PHONE } from "./browser.ts";

const workspace = env("OCTO_WORKSPACE");
const shots = env("OCTO_SHOTS", ".");

function agent(page: Page, name: string) {
  return page.getByTestId("agent-picker").getByRole("radio", { name, exact: true });
}

await journey(async (browser) => {
  const desk = await newPage(await browser.newContext({ ...DESKTOP, colorScheme: "light" }));
  const found = complaints(desk);
  await open(desk, "/");
  await desk.getByTestId("new-session").click();
  const dialog = desk.getByTestId("new-session-dialog");
  await dialog.getByTestId("folder").fill(workspace);
  await agent(desk, "pi").waitFor({ state: "attached" });
  assert.ok(await agent(desk, "pi").isChecked());
  assert.ok(await agent(desk, "Claude Code").isDisabled());
  const hint = await agent(desk, "Claude Code").getAttribute("aria-describedby");
  const how = await desk.locator(`[id="${hint}"]`).textContent();
  assert.equal(how, "Claude Code is not installed. octo agents install claude on the server installs it.");
  const facts = dialog.locator("label").filter({ hasText: "corp/m1" }).getByTestId("model-facts");
  assert.equal(await facts.textContent(), "200k$3 / $15");
  await desk.screenshot({ path: join(shots, "desktop-new-session.png") });

  // By keyboard: from pi over the one that is not there to the next.
  await agent(desk, "pi").focus();
  await desk.keyboard.press("ArrowRight");
  assert.ok(await agent(desk, "pi (next)").isChecked(), "what is not installed is passed over");
  assert.equal(
    await dialog.locator("label").filter({ hasText: "corp/m1" }).count(),
    0,
    "its models are its own",
  );
  await dialog.locator('input[type=radio][value="demo/scripted"]').check();
  await dialog.getByTestId("create-session").click();
  await desk.waitForURL(/\/s\//, { timeout: 60_000 });
  await desk.getByTestId("chat").waitFor();
  const id = new URL(desk.url()).pathname.slice("/s/".length);
  const sessions = await desk.request.get(new URL("/api/sessions", env("OCTO_URL")).href);
  const made = ((await sessions.json()) as { id: string; harness: string }[]).find((s) => s.id === id);
  assert.equal(made?.harness, "next");

  const phone = await newPage(await browser.newContext({ ...PHONE, colorScheme: "dark" }));
  found.push(...complaints(phone));
  await open(phone, "/");
  await phone.getByRole("button", { name: "New session" }).first().click();
  await agent(phone, "pi").waitFor({ state: "attached" });
  const picker = phone.getByTestId("agent-picker");
  const width = await picker.evaluate((element) => element.scrollWidth - element.clientWidth);
  assert.ok(width <= 1, `nothing sticks out on a phone: ${width}`);
  await phone.screenshot({ path: join(shots, "phone-new-session.png") });
  assert.deepEqual(found, [], "the pages had nothing to complain of");
});
