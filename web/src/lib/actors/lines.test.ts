import { expect, test } from "vitest";
import { forest, frame, NOW, row } from "../../../test/actors";
import type { ActorRow } from "../wire";
import { type Filter, flatLines, NO_FILTER, Shape, type SortKey, summarise, treeLines } from "./lines";
import { ActorTable } from "./table";

function table(rows: ActorRow[]): ActorTable {
  const table = new ActorTable();
  table.apply(frame(NOW, rows, { first: true }));
  return table;
}

const rows = [
  row("/services", { kind: "services" }),
  row("/users", { kind: "users" }),
  row("/users/ada", { kind: "user" }),
  row("/users/ada-2", { kind: "user" }),
  row("/users/ada/runner", { kind: "runner" }),
  row("/users/ada/sessions/ses_2"),
  row("/users/ada/sessions/ses_10", { state: "stuck" }),
];

function tree(filter: Partial<Filter> = {}, folded: string[] = [], of = table(rows)) {
  return treeLines(of, new Shape(), { ...NO_FILTER, ...filter }, new Set(folded), NOW);
}

const drawn = (lines: ReturnType<typeof tree>) =>
  lines.map((line) => `${"  ".repeat(line.level - 1)}${line.name}`);

test("the tree stands in the order of names, with branches that are no actors", () => {
  const lines = tree();
  expect(drawn(lines)).toEqual([
    "services",
    "users",
    "  ada",
    "    runner",
    "    sessions",
    "      ses_2",
    "      ses_10",
    "  ada-2",
  ]);
  expect(lines.find((line) => line.name === "sessions")?.actor).toBeNull();
  expect(lines.map((line) => `${line.place}/${line.siblings}`)).toEqual([
    "1/2",
    "2/2",
    "1/2",
    "1/2",
    "2/2",
    "1/2",
    "2/2",
    "2/2",
  ]);
});

test("what is folded away is counted, and so is what is wrong in it", () => {
  const lines = tree({}, ["/users/ada"]);
  expect(drawn(lines)).toEqual(["services", "users", "  ada", "  ada-2"]);
  expect(lines[2]).toMatchObject({ open: false, below: 3, wrongBelow: 1 });
});

test("what is looked for is shown with what leads to it, folded or not", () => {
  expect(drawn(tree({ text: "STUCK" }, ["/users"]))).toEqual([
    "users",
    "  ada",
    "    sessions",
    "      ses_10",
  ]);
  expect(drawn(tree({ onlyWrong: true }))).toEqual(["users", "  ada", "    sessions", "      ses_10"]);
  expect(drawn(tree({ kinds: new Set(["runner"]) }))).toEqual(["users", "  ada", "    runner"]);
  expect(drawn(tree({ states: new Set(["degraded"]) }))).toEqual([]);
  expect(drawn(tree({ text: "ada runner" }))).toEqual(["users", "  ada", "    runner"]);
});

test("a user's own part begins with the user", () => {
  expect(drawn(tree({}, [], table(rows.slice(4))))).toEqual(["runner", "sessions", "  ses_2", "  ses_10"]);
  expect(drawn(tree({}, [], table([rows[2] as ActorRow, ...rows.slice(4)])))[0]).toBe("ada");
});

test("wrong is what does not work, what may soon not, and what was just restarted", () => {
  const of = table([
    row("/well", { restarts: 4 }),
    row("/down", { state: "degraded" }),
    row("/full", { mailbox: 205 }),
    row("/new", { started_at: NOW - 1000 }),
    row("/back", { restarts: 1, started_at: NOW - 1000 }),
  ]);
  const wrong = flatLines(of, { ...NO_FILTER, onlyWrong: true }, { by: "path", down: false }, NOW);
  expect(wrong.map((line) => `${line.name} ${line.trouble}`)).toEqual([
    "/back warn",
    "/down bad",
    "/full warn",
  ]);
  expect(summarise(of, NOW)).toMatchObject({ total: 5, bad: 1, warn: 2 });
  // With time an actor that came back is well.
  expect(summarise(of, NOW + 60_000)).toMatchObject({ bad: 1, warn: 1 });
});

test("all actors stand in the order of any column", () => {
  const of = table([
    row("/a", { processed: 0 }),
    row("/b", { processed: 0, state: "stuck" }),
    row("/c", { processed: 0 }),
  ]);
  const next = [
    row("/a", { processed: 5, mailbox: 1 }),
    row("/b", { processed: 50, state: "stuck", restarts: 2, kind: "agent" }),
    row("/c", { processed: 20, mailbox: 3, mailbox_limit: 4, started_at: NOW - 5, last_error: "why" }),
  ];
  of.apply(frame(NOW + 1000, next));
  const order = (by: SortKey, down = true) =>
    flatLines(of, NO_FILTER, { by, down }, NOW)
      .map((line) => line.name)
      .join("");
  expect(order("path", false)).toBe("/a/b/c");
  expect(order("rate")).toBe("/b/c/a");
  expect(order("mailbox")).toBe("/c/a/b");
  expect(order("restarts")).toBe("/b/a/c");
  expect(order("state")).toBe("/b/a/c");
  expect(order("kind", false)).toBe("/b/a/c");
  expect(order("age")).toBe("/a/b/c");
  expect(order("error")).toBe("/c/a/b");
});

test("the tree of many actors is only made anew when one came or went", () => {
  const of = table(forest(2000));
  const shape = new Shape();
  const before = shape.of(of);
  of.apply(frame(NOW + 1000, [row("/users/user0", { kind: "user", processed: 99 })]));
  expect(shape.of(of)).toBe(before);
  of.apply(frame(NOW + 2000, [row("/users/new", { kind: "user" })]));
  expect(shape.of(of)).not.toBe(before);
});
