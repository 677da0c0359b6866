import { screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { emptySession } from "@/lib/session/state";
import { rowsOf } from "@/lib/session/timeline";
import type { Removed } from "@/lib/wire";
import { show } from "../../../test/render";
import { RemovedRow } from "./RemovedRow";

const removed: Removed = {
  messages: 42,
  turns: 1,
  first_at: Date.UTC(2026, 0, 3, 12),
  last_at: Date.UTC(2026, 2, 5, 12),
  removed_at: Date.UTC(2026, 8, 10, 12),
  reasons: ["age"],
};

test("what was removed is said with how much, of when, and why", () => {
  show(<RemovedRow removed={removed} />);
  const said = screen.getByTestId("removed").textContent ?? "";
  for (const part of [
    "42 earlier messages",
    "1 turn)",
    "Jan 3, 2026",
    "Mar 5, 2026",
    "Sep 10, 2026",
    "older",
  ])
    expect(said).toContain(part);
  expect(said).not.toContain("larger");
});

test("it stands first, and only once everything before it is loaded", () => {
  const view = { outbox: [], failure: null, capabilities: null, loadingOlder: false, parked: [] };
  const at = (hasMore: boolean) => rowsOf({ ...view, session: { ...emptySession(), removed, hasMore } });
  expect(at(false).map((row) => row.kind)).toEqual(["removed"]);
  expect(at(true)).toEqual([]);
});
