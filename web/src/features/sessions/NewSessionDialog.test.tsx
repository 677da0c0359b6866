import { act, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";
import { show } from "../../../test/render";
import { NewSessionDialog } from "./NewSessionDialog";

vi.mock("@tanstack/react-router", () => ({ useNavigate: () => vi.fn() }));

afterEach(() => vi.unstubAllGlobals());

/** The dialog, before octo has said which folder it suggests; `suggest` says it. */
function dialog() {
  let answer: (response: Response) => void = () => {};
  vi.stubGlobal("fetch", () => new Promise<Response>((resolve) => (answer = resolve)));
  show(<NewSessionDialog onClose={() => {}} />);
  const suggest = async (folder: string, harnesses?: object[]) => {
    await act(async () => answer(Response.json({ default_workspace: folder, harnesses })));
    await screen.findByText(folder.split("/").pop() ?? "");
  };
  return { field: screen.getByTestId("folder") as HTMLInputElement, suggest };
}

test("a suggested folder that comes while somebody begins to type is replaced, not continued", async () => {
  const { field, suggest } = dialog();
  field.focus();
  await suggest("/octo/admin");
  expect(field.value).toBe("/octo/admin");
  // Where the caret stands decides what typing does.
  await userEvent.keyboard("/srv/work");
  expect(field.value).toBe("/srv/work");
});

test("what was typed stays when the suggestion comes", async () => {
  const { field, suggest } = dialog();
  await userEvent.type(field, "/srv/work");
  await suggest("/octo/admin");
  expect(field.value).toBe("/srv/work");
});

const PI = { id: "pi", name: "pi", is_default: true };
const CLAUDE = { id: "claude", name: "Claude Code", is_default: false, api: "anthropic-messages" };

test("the agent is chosen where there are several, and named where there is one", async () => {
  const { suggest } = dialog();
  await suggest("/octo/admin", [PI, CLAUDE]);
  expect((screen.getByRole("radio", { name: "pi" }) as HTMLInputElement).checked).toBe(true);
  await userEvent.click(screen.getByRole("radio", { name: "Claude Code" }));
  expect((screen.getByRole("radio", { name: "Claude Code" }) as HTMLInputElement).checked).toBe(true);
});

test("one agent is no choice", async () => {
  const { suggest } = dialog();
  await suggest("/octo/admin", [PI]);
  expect(screen.queryByTestId("agent-picker")).toBeNull();
  expect(screen.getByText("Agent: pi")).toBeTruthy();
});
