/**
 * Claude Code is chosen for a session: its change of a file is shown as a diff and allowed, its question is answered on the phone while the desk looks on.
 * Beside it pi, in whose place a person runs a command.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { complaints, DESKTOP, env, journey, newPage, newSession, open, PHONE } from "./browser.ts";
import { idle, play, said, send } from "./demo.ts";

const workspace = env("OCTO_WORKSPACE");
const shots = env("OCTO_SHOTS", ".");
const file = join(workspace, "song.md");

await journey(async (browser) => {
  const desk = await newPage(await browser.newContext(DESKTOP));
  const phone = await newPage(await browser.newContext(PHONE));
  const found = [...complaints(desk), ...complaints(phone)];
  await open(desk, "/");
  await desk.getByTestId("new-session").click();
  const picker = desk.getByTestId("agent-picker");
  await picker.getByText("Claude Code", { exact: true }).click();
  await desk.screenshot({ path: join(shots, "desktop-agents.png") });
  await desk.keyboard.press("Escape");
  const id = await newSession(desk, workspace, { agent: "Claude Code" });
  await open(phone, `/s/${id}`);
  const asked = (page: typeof desk) => page.getByTestId("request");

  await writeFile(file, "one\ntwo\nthree\n");
  const edit = { file_path: file, old_string: "two", new_string: "2" };
  await play(desk, [
    { text: "I read it first.", tools: [{ name: "Read", input: { file_path: file } }] },
    { text: "Now the change.", tools: [{ name: "Edit", input: edit }] },
    { text: "The song is changed." },
  ]);
  for (const page of [desk, phone]) {
    await asked(page).waitFor({ timeout: 60_000 });
    const text = (await asked(page).textContent()) ?? "";
    for (const shown of [file, "− two", "+ 2"])
      assert.ok(text.includes(shown), `${shown} is not shown: ${text}`);
  }
  await desk.screenshot({ path: join(shots, "desktop-claude-permission.png") });
  assert.equal(await readFile(file, "utf8"), "one\ntwo\nthree\n", "nothing is written before it is allowed");
  await asked(desk).getByRole("button", { name: "Allow once", exact: true }).click();
  await asked(phone).waitFor({ state: "detached" });
  await said(desk, "The song is changed.").waitFor({ timeout: 60_000 });
  await idle(desk);
  assert.equal(await readFile(file, "utf8"), "one\n2\nthree\n");

  const options = [
    { label: "Red", description: "warm" },
    { label: "Blue", description: "cold" },
  ];
  const question = { question: "Which colour?", header: "Colour", multiSelect: false, options };
  await play(desk, [
    { text: "I have to know.", tools: [{ name: "AskUserQuestion", input: { questions: [question] } }] },
    { text: "Thank you." },
  ]);
  await asked(desk).getByText("Which colour?").waitFor({ timeout: 60_000 });
  await asked(phone).getByText("Which colour?").waitFor();
  await desk.screenshot({ path: join(shots, "desktop-claude-question.png") });
  await phone.screenshot({ path: join(shots, "phone-claude-question.png") });
  await asked(phone).getByText("Blue: cold").click();
  await asked(desk).waitFor({ state: "detached" });
  await said(desk, "Thank you.").waitFor({ timeout: 60_000 });
  await idle(desk);

  await newSession(desk, workspace, { agent: "pi" });
  await send(desk, "!cat song.md; sleep 300");
  const shell = desk.getByTestId("shell-row");
  await shell.getByTestId("shell-stop").waitFor();
  await desk.screenshot({ path: join(shots, "desktop-command-runs.png") });
  await shell.getByTestId("shell-stop").click();
  await shell.locator("[data-testid=tool-card][data-phase=error]").waitFor({ timeout: 60_000 });
  await send(desk, "!wc -l song.md");
  await shell.nth(1).getByText("3 song.md").waitFor({ timeout: 60_000 });
  await desk.screenshot({ path: join(shots, "desktop-command.png") });
  await desk.reload();
  await shell.nth(1).getByText("3 song.md").waitFor();
  assert.deepEqual(found, [], "the pages had nothing to complain of");
});
process.stdout.write("claude: all well\n");
