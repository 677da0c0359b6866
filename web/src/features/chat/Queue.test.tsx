import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import type { Feed } from "@/lib/session/feed";
import type { QueuedInput } from "@/lib/wire";
import { show } from "../../../test/render";
import { Queue } from "./Queue";

const waiting: QueuedInput[] = [{ kind: "follow_up", message: "and then that", client_id: "c1" }];

function queue(capabilities: string[] | null, command = vi.fn(() => Promise.resolve(null))) {
  show(
    <Queue
      feed={{ command } as unknown as Feed}
      steering={[]}
      followUp={waiting}
      capabilities={capabilities}
    />,
  );
  return command;
}

test("what waits can be written anew, under an id of its own", async () => {
  const command = queue(["queue.drop", "queue.replace"]);
  await userEvent.click(screen.getByRole("button", { name: "Edit" }));
  const field = screen.getByRole("textbox", { name: "Message that waits" });
  await userEvent.clear(field);
  await userEvent.type(field, "rather this{Enter}");
  expect(command).toHaveBeenCalledWith("queue.replace", {
    client_id: "c1",
    message: "rather this",
    new_client_id: expect.stringMatching(/^\w+/),
  });
  await waitFor(() => expect(screen.queryByRole("textbox")).toBeNull());
});

test("what waits can be taken out, and an edit that changes nothing sends nothing", async () => {
  const command = queue(["queue.drop", "queue.replace"]);
  await userEvent.click(screen.getByRole("button", { name: "Edit" }));
  await userEvent.keyboard("{Enter}");
  expect(command).not.toHaveBeenCalled();
  await userEvent.click(screen.getByRole("button", { name: "Drop" }));
  expect(command).toHaveBeenCalledWith("queue.drop", { client_id: "c1" });
});

test("a session that cannot do it only shows what waits", () => {
  queue(["prompt"]);
  expect(screen.getByText("and then that")).toBeTruthy();
  expect(screen.queryByRole("button")).toBeNull();
});
