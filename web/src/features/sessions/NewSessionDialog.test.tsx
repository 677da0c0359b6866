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
  const suggest = async (folder: string) => {
    await act(async () => answer(Response.json({ default_workspace: folder })));
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
