import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import type { Feed } from "@/lib/session/feed";
import type { InputRequest } from "@/lib/wire";
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
