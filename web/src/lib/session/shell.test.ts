import { expect, test } from "vitest";
import type { Message } from "../wire";
import { commandIn, runningShell, shellOf } from "./shell";
import { emptySession } from "./state";

const done = (metadata: object): Message => ({
  id: "m1",
  idx: 0,
  role: "system",
  created_at: 1,
  parts: [{ type: "text", id: "m1.0", text: "$ make\none\ntwo\n" }] as Message["parts"],
  metadata: { kind: "bash_execution", command: "make", ...metadata },
});

test("a text that begins with an exclamation mark is a command, a picture in Markdown is none", () => {
  expect(commandIn("!ls -l")).toBe("ls -l");
  expect(commandIn("  ! make\ntest \n")).toBe("make\ntest");
  for (const none of ["ls", "!", "! ", "![a](b)", "really!"]) expect(commandIn(none)).toBeNull();
});

test("what it wrote is shown without the command, and how it ended", () => {
  const run = shellOf(done({ exit_code: 0 }));
  expect(run).toMatchObject({ phase: "success", input: { command: "make" } });
  expect(run?.output).toEqual({ content: [{ type: "text", text: "one\ntwo\n" }] });
  expect(shellOf(done({ exit_code: 2 }))?.phase).toBe("error");
  expect(shellOf(done({ cancelled: true }))?.phase).toBe("error");
  expect(shellOf({ ...done({}), metadata: { kind: "custom" } })).toBeNull();
});

test("the one that runs is found among the tools", () => {
  const session = emptySession();
  expect(runningShell(session)).toBeUndefined();
  const run = { id: "bash-m2", name: "bash", phase: "running" as const };
  expect(runningShell({ ...session, tools: { c: { ...run, id: "call_1" }, [run.id]: run } })).toEqual(run);
});
