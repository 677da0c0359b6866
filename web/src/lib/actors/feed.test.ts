import { expect, test } from "vitest";
import { frame, NOW, row } from "../../../test/actors";
import type { MuxStatus } from "../mux";
import type { ClientSystem } from "../wire";
import { ActorFeed } from "./feed";

/** The part of a mux that a feed uses. */
class FakeMux {
  status: MuxStatus = "open";
  readonly sent: ClientSystem[] = [];
  private readonly watchers = new Set<(status: MuxStatus) => void>();
  private readonly system = new Set<(frame: Record<string, unknown>) => void>();

  onStatus(watcher: (status: MuxStatus) => void) {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  onSystem(watcher: (frame: Record<string, unknown>) => void) {
    this.system.add(watcher);
    return () => this.system.delete(watcher);
  }

  tellSystem(frame: ClientSystem) {
    if (this.status === "open") this.sent.push(frame);
  }

  become(status: MuxStatus) {
    this.status = status;
    for (const watcher of this.watchers) watcher(status);
  }

  /** What octo says to the newest watch, or to another. */
  say(frame: object, id = this.watch) {
    for (const watcher of this.system) watcher({ channel: "system", id, ...frame });
  }

  get watch(): string {
    const last = this.sent.findLast((frame) => frame.type === "watch_actors");
    return last?.type === "watch_actors" ? String(last.id) : "";
  }
}

function opened() {
  const mux = new FakeMux();
  const feed = new ActorFeed(
    mux,
    (run) => run(),
    () => NOW + 7,
  );
  feed.open();
  return { mux, feed };
}

test("a feed watches while it is open, and shows what octo says to this watch alone", () => {
  const { mux, feed } = opened();
  expect(mux.sent).toEqual([{ type: "watch_actors", id: "actors-1" }]);
  expect(feed.snapshot().status).toBe("loading");
  mux.say(frame(NOW, [row("/old")], { first: true }), "actors-0");
  expect(feed.snapshot().table.actors.size).toBe(0);
  mux.say(frame(NOW, [row("/a")], { first: true }));
  expect(feed.snapshot()).toMatchObject({ status: "live", skew: -7 });
  feed.close();
  expect(mux.sent.at(-1)).toEqual({ type: "unwatch_actors" });
  mux.say(frame(NOW + 1000, [row("/late")]));
  expect(feed.snapshot().table.actors.has("/late")).toBe(false);
});

test("when the connection comes back it goes on by itself, without doubles", () => {
  const { mux, feed } = opened();
  let told = 0;
  feed.subscribe(() => {
    told += 1;
  });
  mux.say(frame(NOW, [row("/a"), row("/b")], { first: true }));
  mux.become("waiting");
  expect(feed.snapshot().status).toBe("away");
  expect(feed.snapshot().table.actors.size).toBe(2);
  mux.become("connecting");
  mux.become("open");
  expect(mux.watch).toBe("actors-2");
  mux.say(frame(NOW + 9000, [row("/c")]), "actors-1");
  expect(feed.snapshot().status).toBe("away");
  mux.say(frame(NOW + 9000, [row("/a", { restarts: 1 })], { first: true }));
  const { status, table } = feed.snapshot();
  expect([status, [...table.actors.keys()]]).toEqual(["live", ["/a"]]);
  expect(table.changes.map(({ what, path }) => `${path} ${what}`)).toEqual(["/a restarted", "/b gone"]);
  expect(told).toBeGreaterThan(2);
});

test("pages of one look are shown together", () => {
  const { mux, feed } = opened();
  mux.say(frame(NOW, [row("/a")], { first: true, more: true }));
  expect(feed.snapshot().status).toBe("loading");
  mux.say(frame(NOW, [row("/b")]));
  expect(feed.snapshot().status).toBe("live");
  expect(feed.snapshot().table.actors.size).toBe(2);
});

test("who may not watch is told why", () => {
  const { mux, feed } = opened();
  mux.say({ type: "error", error: "this takes the role admin" });
  expect(feed.snapshot()).toMatchObject({ status: "refused", error: "this takes the role admin" });
});
