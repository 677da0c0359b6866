import { fireEvent, screen } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { show } from "../../test/render";
import { Dialog } from "./Dialog";

test("a dialog begins in its first field, and gives the focus back when it ends", () => {
  const before = document.createElement("button");
  document.body.append(before);
  before.focus();
  const { unmount } = show(
    <Dialog title="Choose" onClose={vi.fn()} bare>
      <div tabIndex={-1}>
        <input aria-label="name" />
      </div>
    </Dialog>,
  );
  expect(document.activeElement).toBe(screen.getByLabelText("name"));
  unmount();
  expect(document.activeElement).toBe(before);
});

test("cancelling a dialog closes it by its owner", () => {
  const onClose = vi.fn();
  show(
    <Dialog title="Choose" onClose={onClose}>
      text
    </Dialog>,
  );
  fireEvent(screen.getByRole("dialog"), new Event("cancel", { cancelable: true }));
  expect(onClose).toHaveBeenCalledTimes(1);
});
