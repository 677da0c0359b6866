import { expect, test } from "vitest";
import { forest, frame, NOW, row } from "../../../test/actors";
import { ActorTable, MAX_CHANGES, MAX_NAMED } from "./table";

function filled(...rows: ReturnType<typeof row>[]): ActorTable {
  const table = new ActorTable();
  table.apply(frame(NOW, rows, { first: true, left_out: [] }));
  return table;
}

const told = (table: ActorTable) => table.changes.map(({ what, path }) => `${path} ${what}`);

test("what is there at the beginning is no news; a change, a coming and a going are", () => {
  const table = filled(row("/a"), row("/b"));
  expect(table.filled).toBe(true);
  expect(table.changes).toEqual([]);
  table.apply(frame(NOW + 1000, [row("/a", { state: "stuck" }), row("/c")], { gone: ["/b", "/nobody"] }));
  expect([...table.actors.keys()].sort()).toEqual(["/a", "/c"]);
  expect(told(table)).toEqual(["/a stuck", "/c came", "/b gone"]);
  expect(table.actors.get("/a")?.change?.what).toBe("stuck");
});

test("messages a second come from two looks, whatever lies between them", () => {
  const table = filled(row("/a", { processed: 100 }), row("/b", { processed: 5 }));
  const rate = (path: string) => table.rate(table.actors.get(path) as never);
  expect(rate("/a")).toBeNull();
  table.apply(frame(NOW + 2000, [row("/a", { processed: 150 })]));
  expect(rate("/a")).toBe(25);
  expect(rate("/b")).toBe(0);
  // A page of the same look counts from the same look before.
  table.apply(frame(NOW + 3000, [row("/a", { processed: 160 })], { more: true }));
  table.apply(frame(NOW + 3000, [row("/b", { processed: 12 })]));
  expect([rate("/a"), rate("/b")]).toEqual([10, 7]);
  table.apply(frame(NOW + 4000, []));
  expect([rate("/a"), rate("/b")]).toEqual([0, 0]);
  // Another one of the same name has counted from the start.
  table.apply(frame(NOW + 5000, [row("/a", { processed: 3 })]));
  expect(rate("/a")).toBeNull();
});

test("a restart is told with its number and the error, and what is beyond it too", () => {
  const table = filled(row("/agent", { kind: "agent" }));
  table.apply(
    frame(NOW + 1000, [row("/agent", { kind: "agent", restarts: 1, last_error: "killed by signal 9" })]),
  );
  expect(table.changes[0]).toMatchObject({
    what: "restarted",
    count: 1,
    kind: "agent",
    error: "killed by signal 9",
  });
  table.apply(frame(NOW + 2000, [row("/agent", { restarts: 1, state: "restarting" })]));
  table.apply(frame(NOW + 3000, [row("/agent", { restarts: 3, state: "degraded" })]));
  table.apply(frame(NOW + 4000, [row("/agent", { restarts: 4 })]));
  table.apply(frame(NOW + 5000, [row("/agent", { restarts: 4, state: "stuck" })]));
  table.apply(frame(NOW + 6000, [row("/agent", { restarts: 4 })]));
  expect(table.changes.map(({ what }) => what)).toEqual([
    "restarted",
    "restarting",
    "restarted",
    "degraded",
    "restarted",
    "stuck",
    "recovered",
  ]);
});

test("one that was down and is started again is well, and that is told once", () => {
  const table = filled(row("/agent", { restarts: 3, state: "degraded" }));
  table.apply(frame(NOW + 1000, [row("/agent", { state: "starting" })]));
  table.apply(frame(NOW + 2000, [row("/agent")]));
  expect(told(table)).toEqual(["/agent recovered"]);
});

test("what happened is bounded, and many of a sort at once are one line", () => {
  const table = filled(row("/users"));
  const many = forest(500);
  table.apply(frame(NOW + 1000, many));
  expect(table.changes).toHaveLength(1);
  expect(table.changes[0]).toMatchObject({ what: "came", several: true, count: 499, path: "/" });
  for (let n = 0; n < 300; n += 1) {
    table.apply(frame(NOW + 2000 + n, [row("/users", { restarts: n + 1 })]));
  }
  expect(table.changes).toHaveLength(MAX_CHANGES);
  expect(table.changes.at(-1)).toMatchObject({ what: "restarted", count: 300 });
  const few = Array.from({ length: MAX_NAMED }, (_, n) => row(`/users/u${n}`));
  table.apply(frame(NOW + 9000, few));
  expect(table.changes.slice(-MAX_NAMED).every((change) => !change.several)).toBe(true);
});

test("a watch that begins again doubles nothing, and tells what went and what failed meanwhile", () => {
  const table = filled(row("/a"), row("/b"), row("/c"));
  table.apply(frame(NOW + 60_000, [row("/a", { restarts: 2 })], { first: true, more: true }));
  expect([...table.actors.keys()].sort()).toEqual(["/a", "/b", "/c"]);
  table.apply(frame(NOW + 60_000, [row("/c")]));
  expect([...table.actors.keys()].sort()).toEqual(["/a", "/c"]);
  expect(told(table)).toEqual(["/a restarted", "/b gone"]);
});

test("what cannot be shown stays said until it is different", () => {
  const table = filled(row("/a"));
  const left = [{ path: "/users/bob/runner", reason: "it does not answer" }];
  table.apply(frame(NOW + 1000, [], { left_out: left }));
  table.apply(frame(NOW + 2000, []));
  expect(table.leftOut).toEqual(left);
  table.apply(frame(NOW + 3000, [], { left_out: [] }));
  expect(table.leftOut).toEqual([]);
});
