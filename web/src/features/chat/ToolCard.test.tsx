import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { ToolRun } from "@/lib/session/state";
import { show } from "../../../test/render";
import { ToolCard } from "./ToolCard";

const text = (value: string) => ({ content: [{ type: "text", text: value }] });
const run = (more: Partial<ToolRun>): ToolRun => ({ id: "t", name: "bash", phase: "running", ...more });
const phase = () => screen.getByTestId("tool-card").dataset.phase;

test("a running command shows its output as it comes", () => {
  show(
    <ToolCard
      id="t"
      name="bash"
      input={{ command: "make" }}
      run={run({ output: text("one\n") })}
      asked
      working
    />,
  );
  expect(screen.getByText("make")).toBeTruthy();
  expect(screen.getByTestId("tool-output").textContent).toBe("one");
});

test("a failure says so and how long it took", () => {
  const failed = run({ phase: "error", output: text("exit 3"), durationMs: 1500 });
  show(<ToolCard id="t" name="bash" input={{ command: "false" }} run={failed} asked working={false} />);
  expect(phase()).toBe("error");
  expect(screen.getByTestId("tool-card").textContent).toContain("failed 1.5 s");
});

test("a tool that has not ended when its agent rests did not run or was interrupted", () => {
  const { unmount } = show(<ToolCard id="t" name="bash" input={{}} asked working={false} />);
  expect(phase()).toBe("unrun");
  unmount();
  show(<ToolCard id="t" name="bash" input={{}} run={run({})} asked working={false} />);
  expect(phase()).toBe("interrupted");
});

test("an edit is shown as a diff", () => {
  const input = { path: "a.rs", edits: [{ oldText: "same\nold", newText: "same\nnew" }] };
  show(
    <ToolCard id="t" name="edit" input={input} run={run({ name: "edit", phase: "success" })} asked working />,
  );
  expect(screen.getByTestId("diff").textContent).toBe(" same−old+new");
});

test("long output is shortened to its end, and whole when asked for", async () => {
  const lines = Array.from({ length: 50 }, (_, n) => `line ${n}`).join("\n");
  show(
    <ToolCard
      id="t"
      name="bash"
      input={{}}
      run={run({ phase: "success", output: text(lines) })}
      asked
      working
    />,
  );
  expect(screen.getByTestId("tool-output").textContent).not.toContain("line 5\n");
  expect(screen.getByTestId("tool-output").textContent).toContain("line 49");
  await userEvent.click(screen.getByText("Show 38 more lines"));
  expect(screen.getByTestId("tool-output").textContent).toContain("line 5\n");
});

test("a file that was read stays folded until one opens it", async () => {
  const read = run({ name: "read", phase: "success", output: text("contents") });
  show(<ToolCard id="t" name="read" input={{ path: "a.txt" }} run={read} asked working />);
  expect(screen.queryByTestId("tool-output")).toBeNull();
  await userEvent.click(screen.getByRole("button", { name: /read/ }));
  expect(screen.getByTestId("tool-output").textContent).toBe("contents");
});
