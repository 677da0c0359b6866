import { expect, test } from "vitest";
import { groupByFolder, merge, newSessionId, recentFolders } from "./sessions";
import type { ChatSession, ListedSession } from "./wire";

const NOW = 1_800_000_000_000;

const live = (id: string, more: Partial<ListedSession> = {}): ListedSession => ({
  session_id: id,
  state: "idle",
  cwd: "/w",
  last_activity: NOW,
  created_at: NOW,
  subscriber_count: 0,
  harness: "pi",
  epoch: "e",
  seq: 1,
  message_count: 0,
  ...more,
});

const past = (id: string, more: Partial<ChatSession> = {}): ChatSession => ({
  id,
  readable_id: id,
  workspace_path: "/w",
  project_name: "w",
  created_at: NOW,
  updated_at: NOW,
  is_child: false,
  ...more,
});

test("a session that lives and has a history is one row, with the title of the history", () => {
  const rows = merge([live("a", { hstry_id: "h" })], [past("h", { title: "Named" })], NOW);
  expect(rows).toHaveLength(1);
  expect(rows[0]).toMatchObject({ id: "a", title: "Named", dot: "idle" });
});

test("states become dots, and ages become times", () => {
  const rows = merge(
    [
      live("a", { state: "needs_input" }),
      live("b", { state: "working", last_activity: 5_000 }),
      live("c", { state: "error" }),
    ],
    [],
    NOW,
  );
  expect(Object.fromEntries(rows.map((row) => [row.id, row.dot]))).toEqual({
    a: "input",
    b: "working",
    c: "error",
  });
  expect(rows.find((row) => row.id === "b")?.lastActivity).toBe(NOW - 5_000);
});

test("folders are in the order of their last use, and a filter looks at titles and folders", () => {
  const rows = merge(
    [
      live("a", { cwd: "/x", title: "Parser", last_activity: NOW - 9 }),
      live("b", { cwd: "/y", title: "Shop" }),
    ],
    [],
    NOW,
  );
  expect(groupByFolder(rows, "").map((group) => group.cwd)).toEqual(["/y", "/x"]);
  expect(groupByFolder(rows, "PARS").map((group) => group.cwd)).toEqual(["/x"]);
  expect(recentFolders(rows)).toEqual(["/y", "/x"]);
});

test("ids of our making are in the alphabet of the protocol", () => {
  expect(newSessionId()).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/);
});
