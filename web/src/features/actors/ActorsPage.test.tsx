import { act, fireEvent, screen, within } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ActorView } from "@/lib/actors/feed";
import { NO_FILTER } from "@/lib/actors/lines";
import { ActorTable } from "@/lib/actors/table";
import { forest, frame, NOW, row } from "../../../test/actors";
import { show } from "../../../test/render";
import { ActorsView } from "./ActorsPage";
import { StateMark } from "./StateMark";
import { useActorsView } from "./view-state";

// Counts how often a line is drawn.
vi.mock("./StateMark", async (original) => {
  const real = await original<typeof import("./StateMark")>();
  return { ...real, StateMark: vi.fn(real.StateMark) };
});

const HEIGHT = 680;

beforeEach(() => {
  vi.useFakeTimers({ now: NOW, toFake: ["Date", "setInterval", "clearInterval"] });
  // A page that is not drawn has no sizes; the list needs that of its window.
  vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(HEIGHT);
  vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(1200);
  useActorsView.setState({ filter: NO_FILTER, folded: new Set(), flat: false, log: true });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function view(table: ActorTable, more: Partial<ActorView> = {}): ActorView {
  return { status: "live", error: null, table, skew: 0, ...more };
}

const nowhere = vi.fn();

function page(
  view: ActorView,
  more: { at?: string; onAt?: (path: string | null) => void; admin?: boolean } = {},
) {
  return (
    <ActorsView
      view={view}
      userId="ada"
      admin={more.admin ?? true}
      at={more.at ?? null}
      onAt={more.onAt ?? nowhere}
    />
  );
}

function filled(rows = forest(2000)): ActorTable {
  const table = new ActorTable();
  table.apply(frame(NOW, rows, { first: true }));
  return table;
}

const lines = () => screen.getAllByTestId("actor-line");

test("of two thousand actors only those near the screen are in the page", () => {
  show(page(view(filled())));
  expect(screen.getByTestId("summary").textContent).toContain("2000 actors");
  expect(screen.getByRole("treegrid").getAttribute("aria-rowcount")).toBe(String(2000 + 10 + 1));
  expect(lines().length).toBeGreaterThan(10);
  expect(lines().length).toBeLessThan(60);
});

test("a look draws only the lines anew in which something is different", () => {
  const table = filled();
  const shown = show(page(view(table)));
  const drawn = vi.mocked(StateMark);
  expect(drawn.mock.calls.length).toBeGreaterThan(10);
  drawn.mockClear();
  table.apply(frame(NOW + 1000, [row("/users", { kind: "users", mailbox: 230, processed: 500 })]));
  shown.rerender(page(view(table)));
  // One that changed; the others lose the rate that was not known in the first look.
  drawn.mockClear();
  table.apply(frame(NOW + 2000, [row("/users", { kind: "users", mailbox: 231, processed: 900 })]));
  shown.rerender(page(view(table)));
  expect(drawn.mock.calls).toHaveLength(1);
  expect(screen.getByText("231/256")).toBeTruthy();
  expect(screen.getByTestId("summary").textContent).toContain("1 to watch");
});

test("the keys move through the tree, fold it and open an actor", () => {
  const onAt = vi.fn();
  show(page(view(filled(forest(40))), { onAt }));
  const grid = screen.getByRole("treegrid");
  act(() => grid.focus());
  const active = () => {
    const id = grid.getAttribute("aria-activedescendant");
    return id && document.getElementById(id)?.getAttribute("data-path");
  };
  const press = (key: string) => fireEvent.keyDown(grid, { key });
  expect(active()).toBe("/services");
  press("ArrowDown");
  expect(active()).toBe("/users");
  press("ArrowRight");
  expect(active()).toBe("/users/user0");
  press("ArrowLeft");
  expect(grid.querySelector("[data-path='/users/user0']")?.getAttribute("aria-expanded")).toBe("false");
  press("ArrowLeft");
  expect(active()).toBe("/users");
  press("End");
  press("Enter");
  expect(onAt).toHaveBeenLastCalledWith(active());
});

test("a state is a word and an icon, not a colour alone", () => {
  show(page(view(filled([row("/a", { state: "stuck" }), row("/b", { state: "degraded" })]))));
  const [stuck, down] = lines();
  expect(
    within(stuck as HTMLElement)
      .getByText("Stuck")
      .querySelector("svg"),
  ).toBeTruthy();
  expect(
    within(down as HTMLElement)
      .getByText("Down")
      .querySelector("svg"),
  ).toBeTruthy();
  expect(screen.getByTestId("summary").textContent).toContain("2 are down or stuck");
});

test("a restart flashes in its line and stands in the list of what happened", () => {
  const onAt = vi.fn();
  const table = filled([row("/users", { kind: "users" }), row("/users/a", { kind: "agent" })]);
  const shown = show(page(view(table), { onAt }));
  expect(screen.queryByTestId("flash")).toBeNull();
  table.apply(frame(NOW + 1000, [row("/users/a", { kind: "agent", restarts: 1, last_error: "killed" })]));
  shown.rerender(page(view(table), { onAt }));
  const line = screen.getByTestId("flash").closest("[data-path]");
  expect(line?.getAttribute("data-path")).toBe("/users/a");
  const change = screen.getByTestId("change");
  expect(change.textContent).toContain("restarted, the first time");
  fireEvent.click(change);
  expect(onAt).toHaveBeenCalledWith("/users/a");
  table.apply(frame(NOW + 9000, []));
  shown.rerender(page(view(table), { onAt }));
  expect(screen.queryByTestId("flash")).toBeNull();
});

test("only what is wrong, found by text, or all in order", () => {
  show(
    page(
      view(
        filled([
          row("/users", { kind: "users" }),
          row("/users/a"),
          row("/users/b", { state: "stuck" }),
          row("/users/c", { trouble: "its agent does not run" }),
        ]),
      ),
    ),
  );
  fireEvent.click(screen.getByTestId("only-wrong"));
  expect(lines().map((line) => line.getAttribute("data-path"))).toEqual(["/users", "/users/b", "/users/c"]);
  expect(screen.getByText("its agent does not run")).toBeTruthy();
  fireEvent.change(screen.getByTestId("actor-filter"), { target: { value: "nothing like it" } });
  expect(screen.getByTestId("actors-blank").textContent).toContain("Nothing is wrong.");
  fireEvent.click(screen.getByRole("button", { name: "Show all" }));
  fireEvent.click(screen.getByTestId("view-top"));
  fireEvent.click(screen.getByTestId("sort-state"));
  expect(screen.getByRole("grid")).toBeTruthy();
  expect(lines()[0]?.getAttribute("data-path")).toBe("/users/b");
});

test("loading, away, refused and left out are said", () => {
  const shown = show(page(view(new ActorTable(), { status: "connecting" })));
  expect(screen.getByRole("status").textContent).toContain("Connecting");
  shown.rerender(page(view(new ActorTable(), { status: "loading" })));
  expect(screen.getByRole("status").textContent).toContain("Looking at the actors");
  shown.rerender(page(view(new ActorTable(), { status: "refused", error: "this takes the role admin" })));
  expect(screen.getByRole("status").textContent).toContain("This takes the role admin");
  const table = filled([row("/a")]);
  table.apply(frame(NOW, [], { left_out: [{ path: "/users/bob/runner", reason: "it does not answer" }] }));
  shown.rerender(page(view(table, { status: "away", skew: 60_000 }), { admin: false }));
  expect(screen.getByTestId("freshness").textContent).toContain("From 1m ago");
  expect(screen.getByTestId("left-out").textContent).toContain("/users/bob/runner: it does not answer");
  expect(screen.getByRole("heading", { level: 1 }).textContent).toBe("What is running");
});
