import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import type { Feed } from "@/lib/session/feed";
import type { InputRequest, PermissionKind } from "@/lib/wire";
import { show } from "../../../test/render";
import { Requests } from "./Requests";

function ask(request: InputRequest, command = vi.fn(() => Promise.resolve(null))) {
  show(<Requests feed={{ command } as unknown as Feed} requests={[request]} />);
  return command;
}

test("a permission shows what is asked for and answers with the chosen option", async () => {
  const command = ask({
    type: "permission",
    request_id: "r",
    title: "Run it?",
    metadata: { tool: "bash", command: "rm -rf build" },
    options: [
      { option_id: "y", label: "Allow", kind: "allow_once" },
      { option_id: "n", label: "Deny", kind: "deny_once" },
    ],
  });
  expect(screen.getByText("rm -rf build")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Deny" }));
  expect(command).toHaveBeenCalledWith("input_response", {
    request_id: "r",
    option_id: "n",
    confirmed: false,
  });
});

test("a choice answers with its value", async () => {
  const command = ask({ type: "select", request_id: "r", title: "Which?", options: ["red", "blue"] });
  await userEvent.click(screen.getByRole("button", { name: "blue" }));
  expect(command).toHaveBeenCalledWith("input_response", { request_id: "r", value: "blue" });
});

test("text is answered by Enter, an editor begins with what is there", async () => {
  const command = ask({ type: "input", request_id: "r", title: "Name?" });
  await userEvent.type(screen.getByLabelText("Name?", { selector: "input" }), "Ada{Enter}");
  expect(command).toHaveBeenCalledWith("input_response", { request_id: "r", value: "Ada" });
});

test("an answer that is refused can be given again", async () => {
  const command = ask(
    { type: "confirm", request_id: "r", title: "Sure?", message: "" },
    vi.fn(() => Promise.reject(new Error("not now"))),
  );
  const yes = screen.getByRole<HTMLButtonElement>("button", { name: "Yes" });
  await userEvent.click(yes);
  await waitFor(() => expect(yes.closest("fieldset")?.disabled).toBe(false));
  expect(command).toHaveBeenCalledTimes(1);
});

test("of many answers those that are remembered are in a menu, in the words of the page", async () => {
  const option = (option_id: string, kind: PermissionKind) => ({ option_id, label: "from the server", kind });
  const command = ask({
    type: "permission",
    request_id: "r",
    title: "Allow write?",
    metadata: {
      tool: "write",
      path: "/w/a",
      diff: "--- /w/a\n+++ /w/a\n@@ -1,1 +1,1 @@\n-old\n+new",
      tool_call_id: "t",
      expires_at: 1_800_000_000_000,
      on_timeout: "deny",
    },
    options: [
      option("allow_once", "allow_once"),
      option("allow_this", "allow_always"),
      option("allow_tool", "allow_always"),
      option("deny_once", "deny_once"),
      option("deny_tool", "deny_always"),
    ],
  });
  expect(screen.getByText("− old")).toBeTruthy();
  expect(screen.getByText("+ new")).toBeTruthy();
  expect(screen.getByTestId("expires").textContent).toMatch(/it is denied/);
  expect(screen.queryByText(/tool_call_id|expires_at/)).toBeNull();
  expect(screen.getByRole("button", { name: "Allow once" })).toBeTruthy();
  await userEvent.click(screen.getByTestId("remember"));
  await userEvent.click(screen.getByRole("menuitem", { name: "Always allow write in this folder" }));
  expect(command).toHaveBeenCalledWith("input_response", {
    request_id: "r",
    option_id: "allow_tool",
    confirmed: true,
  });
});
