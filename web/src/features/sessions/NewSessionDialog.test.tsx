import { act, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";
import { show } from "../../../test/render";
import { NewSessionDialog } from "./NewSessionDialog";

vi.mock("@tanstack/react-router", () => ({ useNavigate: () => vi.fn() }));

afterEach(() => vi.unstubAllGlobals());

/** The dialog, before octo has said which folder it suggests; `suggest` says it, with the agents that there are. */
function dialog(agents: object[] = []) {
  let answer: (response: Response) => void = () => {};
  vi.stubGlobal("fetch", (url: string) =>
    String(url).endsWith("/harnesses")
      ? Promise.resolve(Response.json(agents))
      : new Promise<Response>((resolve) => (answer = resolve)),
  );
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

const PI = { name: "pi", label: "pi", is_default: true, installed: true };
const CLAUDE = {
  name: "claude",
  label: "Claude Code",
  is_default: false,
  installed: true,
  api: "anthropic-messages",
};
const PRICED = {
  id: "claude-sonnet-4-5",
  name: "Claude Sonnet 4.5",
  api: "anthropic-messages",
  provider: "anthropic",
  reasoning: true,
  input: ["text"],
  contextWindow: 200_000,
  maxTokens: 64_000,
  cost: { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 },
};

function radio(name: string) {
  return screen.findByRole("radio", { name }) as Promise<HTMLInputElement>;
}

test("the agent is chosen where there are several", async () => {
  dialog([PI, CLAUDE]);
  expect((await radio("pi")).checked).toBe(true);
  await userEvent.click(await radio("Claude Code"));
  expect((await radio("Claude Code")).checked).toBe(true);
});

test("one agent is no choice, and is named", async () => {
  dialog([PI]);
  expect(await screen.findByText("Agent: pi")).toBeTruthy();
  expect(screen.queryByTestId("agent-picker")).toBeNull();
});

test("an agent that is not installed cannot be chosen and says how to get it", async () => {
  const how = "`octo agents install claude` on the server installs it";
  dialog([PI, { ...CLAUDE, installed: false, how_to_get: how }]);
  const claude = await radio("Claude Code");
  expect(claude.disabled).toBe(true);
  await userEvent.click(claude);
  expect((await radio("pi")).checked).toBe(true);
  const described = document.getElementById(claude.getAttribute("aria-describedby") ?? "");
  expect(described?.textContent).toBe(
    "Claude Code is not installed. octo agents install claude on the server installs it.",
  );
});

test("where the default agent is missing, one that is there is taken", async () => {
  dialog([{ ...PI, installed: false, how_to_get: "Get it." }, CLAUDE]);
  expect((await radio("Claude Code")).checked).toBe(true);
});

test("a model shows what fits into it and what it costs, of the agent that is chosen", async () => {
  const free = { ...PRICED, id: "local", name: "Local", provider: "ollama", cost: undefined };
  dialog([
    { ...PI, models: [PRICED, free] },
    { ...CLAUDE, models: [PRICED] },
  ]);
  const facts = await screen.findAllByTestId("model-facts");
  expect(facts.map((fact) => fact.textContent)).toEqual(["200k$3 / $15", "200k"]);
  await userEvent.click(await radio("Claude Code"));
  expect(screen.queryByText("Local")).toBeNull();
  expect(screen.getByText("$3 / $15").title).toBe("US dollars per million tokens: in / out");
});
