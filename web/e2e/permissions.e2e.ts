/**
 * An agent asks: the change is shown as a diff on two devices, the answer of one closes the question on the other, what is to be
 * remembered is a rule that can be seen and forgotten. And what waits for the agent is changed while it waits.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { complaints, DESKTOP, env, journey, newPage, newSession, open, PHONE } from "./browser.ts";
import { idle, play, said, send, slowly } from "./demo.ts";

const workspace = env("OCTO_WORKSPACE");
const shots = env("OCTO_SHOTS", ".");
const file = join(workspace, "notes.md");

await journey(async (browser) => {
  const desk = await newPage(await browser.newContext(DESKTOP));
  const phone = await newPage(await browser.newContext(PHONE));
  const found = [...complaints(desk), ...complaints(phone)];
  await open(desk, "/");
  const id = await newSession(desk, workspace);
  await open(phone, `/s/${id}`);
  const asked = (page: typeof desk) => page.getByTestId("request");

  await writeFile(file, "# Notes\n\nfirst line\nsecond line\n");
  const write = (text: string) => [
    { text: "I change the notes.", tools: [{ name: "write", input: { path: "notes.md", content: text } }] },
    { text: "The notes are changed." },
  ];
  await play(desk, write("# Notes\n\nfirst line\nsecond line, changed\n"));
  for (const page of [desk, phone]) {
    await asked(page).waitFor({ timeout: 60_000 });
    const text = (await asked(page).textContent()) ?? "";
    for (const shown of [file, "− second line", "+ second line, changed"]) {
      assert.ok(text.includes(shown), `${shown} is shown before anything is decided: ${text}`);
    }
  }
  assert.match(await readFile(file, "utf8"), /second line\n$/, "nothing is written before it is allowed");
  await desk.screenshot({ path: join(shots, "desktop-permission.png") });
  await phone.screenshot({ path: join(shots, "phone-permission.png") });

  await desk.getByTestId("remember").click();
  await desk.screenshot({ path: join(shots, "desktop-permission-remember.png") });
  await desk.getByRole("menuitem", { name: "Always allow write in this folder" }).click();
  await asked(phone).waitFor({ state: "detached" });
  await idle(desk);
  assert.match(await readFile(file, "utf8"), /second line, changed\n$/);
  await play(desk, write("# Notes\n"));
  await said(desk, "The notes are changed.").nth(1).waitFor({ timeout: 60_000 });
  await idle(desk);
  assert.equal(
    await readFile(file, "utf8"),
    "# Notes\n",
    "a rule that was made is asked instead of a person",
  );
  assert.equal(await desk.locator("[data-testid=decision][data-by=rule]").count(), 1, "and the call says so");

  // Another question, answered on the other device; the desk hears of it.
  await play(desk, [
    { text: "", tools: [{ name: "bash", input: { command: "rm -rf build" } }] },
    { text: "Then not." },
  ]);
  await asked(desk).getByText("rm -rf build").waitFor({ timeout: 60_000 });
  await asked(phone).getByRole("button", { name: "Deny", exact: true }).click();
  await asked(desk).waitFor({ state: "detached" });
  await said(desk, "Then not.").waitFor({ timeout: 60_000 });
  await idle(desk);

  // The rules of this person, and one is forgotten.
  await desk.getByTestId("account").click();
  await desk.getByTestId("nav-permissions").click();
  const rule = desk.getByTestId("rule");
  await rule.waitFor();
  assert.match((await rule.textContent()) ?? "", /Allow write in work.*Used once/);
  await desk.screenshot({ path: join(shots, "desktop-permissions.png") });
  await rule.getByRole("button", { name: "Forget" }).click();
  await desk.getByTestId("no-rules").waitFor();
  await desk.goBack();

  // The session's own word: no more questions.
  await desk.getByTestId("permission-menu").click();
  await desk.getByRole("menuitemcheckbox", { name: "Let it run" }).click();
  await desk.locator("[data-testid=permission-menu][data-mode=allow]").waitFor();

  await play(desk, [slowly("answer", 400)]);
  await said(desk, "answer word00 word01").waitFor({ timeout: 60_000 });
  await send(desk, "the first that waits", "Alt+Enter");
  await send(desk, "the second that waits", "Alt+Enter");
  const queued = (page: typeof desk) => page.getByTestId("queued");
  await queued(phone).nth(1).waitFor();
  await queued(desk).first().getByRole("button", { name: "Edit" }).click();
  const field = desk.getByRole("textbox", { name: "Message that waits" });
  await field.fill("the first, written anew");
  await desk.screenshot({ path: join(shots, "desktop-queue.png") });
  await field.press("Enter");
  await queued(phone).getByText("the first, written anew").waitFor();
  await queued(desk).nth(1).getByRole("button", { name: "Drop" }).click();
  await queued(phone).nth(1).waitFor({ state: "detached" });
  await desk
    .getByTestId("user-message")
    .filter({ hasText: "the first, written anew" })
    .waitFor({ timeout: 60_000 });
  await idle(desk);
  const prompts = (await desk.getByTestId("user-message").allTextContents()).join("\n");
  assert.ok(!prompts.includes("that waits"), "what was replaced and what was dropped never run");
  assert.deepEqual(found, [], "the pages had nothing to complain of");
});
process.stdout.write("permissions: all well\n");
