import { cleanup, fireEvent, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { createRef } from "react";
import { afterEach, expect, test, vi } from "vitest";
import { MAX_IMAGE_BYTES } from "@/lib/images";
import type { Feed, FeedView } from "@/lib/session/feed";
import { type Activity, emptySession } from "@/lib/session/state";
import { show } from "../../../test/render";
import { useUi } from "../shell/ui-state";
import { Composer, type ComposerHandle } from "./Composer";
import { forgetDraft } from "./drafts";

afterEach(() => forgetDraft("s"));

function compose(activity: Activity, blind = false, capabilities: string[] | null = null) {
  const send = vi.fn();
  const runCommand = vi.fn().mockResolvedValue(undefined);
  const view: FeedView = {
    session: { ...emptySession(), activity },
    outbox: [],
    failure: null,
    capabilities,
    loadingOlder: false,
    parked: [],
  };
  const feed = { send, runCommand } as unknown as Feed;
  const stop = vi.fn();
  show(
    <Composer
      ref={createRef<ComposerHandle>()}
      sessionId="s"
      feed={feed}
      view={view}
      onStop={stop}
      blind={blind}
    />,
  );
  return { send, runCommand, stop, area: screen.getByTestId("composer") as HTMLTextAreaElement };
}

test("Enter sends and empties the field, Shift Enter makes a new line", async () => {
  const { send, area } = compose("idle");
  await userEvent.type(area, "one{Shift>}{Enter}{/Shift}two{Enter}");
  expect(send).toHaveBeenCalledExactlyOnceWith("prompt", "one\ntwo", []);
  expect(area.value).toBe("");
});

test("while the agent works Enter steers and Alt Enter follows up", async () => {
  const { send, area } = compose("working");
  await userEvent.type(area, "left{Enter}");
  await userEvent.type(area, "then{Alt>}{Enter}{/Alt}");
  expect(send.mock.calls.map(([kind, text]) => [kind, text])).toEqual([
    ["steer", "left"],
    ["follow_up", "then"],
  ]);
});

test("nothing is sent that is empty, nor while a word is being composed", async () => {
  const { send, area } = compose("idle");
  await userEvent.type(area, "  {Enter}");
  fireEvent.keyDown(area, { key: "Enter", isComposing: true });
  expect(send).not.toHaveBeenCalled();
});

test("an image goes with the prompt; one too large is refused by name", async () => {
  const { send, area } = compose("idle");
  const large = new File([new Uint8Array(MAX_IMAGE_BYTES + 1)], "large.png", { type: "image/png" });
  const small = new File(["png"], "small.png", { type: "image/png" });
  await userEvent.upload(screen.getByTestId("image-picker"), [large, small]);
  await screen.findByAltText("small.png");
  expect(useUi.getState().toast?.text).toContain("large.png was not added");
  await userEvent.type(area, "look{Enter}");
  expect(send).toHaveBeenCalledWith("prompt", "look", [{ data: "cG5n", media_type: "image/png" }]);
});

test("somebody whose model takes no images is told before they send one", async () => {
  compose("idle", true);
  expect(screen.queryByTestId("images-unseen")).toBeNull();
  await userEvent.upload(
    screen.getByTestId("image-picker"),
    new File(["png"], "a.png", { type: "image/png" }),
  );
  await screen.findByTestId("images-unseen");
});

test("a draft is there again after the page was left", async () => {
  const { area } = compose("idle");
  await userEvent.type(area, "half a thought");
  cleanup();
  const again = compose("idle");
  expect(again.area.value).toBe("half a thought");
  await userEvent.type(again.area, "{Enter}");
  cleanup();
  expect(compose("idle").area.value).toBe("");
});

test("what begins with an exclamation mark runs in the agent's place, where the agent can do that", async () => {
  const able = compose("working", false, ["bash"]);
  await userEvent.type(able.area, "!ls -l");
  expect(screen.getByText(/runs this command/i)).toBeTruthy();
  await userEvent.type(able.area, "{Enter}");
  expect(able.runCommand).toHaveBeenCalledExactlyOnceWith("ls -l");
  expect(able.send).not.toHaveBeenCalled();
  expect(able.area.value).toBe("");
  cleanup();
  const unable = compose("idle", false, ["prompt"]);
  await userEvent.type(unable.area, "!ls{Enter}");
  expect(unable.send).toHaveBeenCalledExactlyOnceWith("prompt", "!ls", []);
});
