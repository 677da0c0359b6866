import { afterEach, expect, test, vi } from "vitest";
import type { EventPath, PathLine } from "../wire";
import { EventPaths, hasEventPath, hopTimes, MAX_EVENTS } from "./event-path";

afterEach(() => {
  vi.restoreAllMocks();
});

const event = (seq: number): EventPath => ({
  seq,
  event: "stream.text_delta",
  translated_us: 2,
  committed_us: 3,
  queued_us: 1,
  sockets: [
    { connection: "1", taken_us: 4, written_us: 5 },
    { connection: "2", taken_us: 1, written_us: 20 },
    { connection: "3", taken_us: 6, written_us: 6 },
  ],
  more_sockets: 0,
});

test("events come with their hops, the newest stay, and what was lost is counted", async () => {
  const lines: PathLine[] = [
    { begun: { user: "ada", session: "s1", one_clock: false } },
    ...Array.from({ length: MAX_EVENTS + 5 }, (_, n): PathLine => ({ event: event(n) })),
    "quiet",
    { dropped: 9 },
  ];
  const fetched = vi
    .spyOn(globalThis, "fetch")
    .mockResolvedValue(new Response(lines.map((line) => `${JSON.stringify(line)}\n`).join("")));
  const paths = new EventPaths("/users/ada/sessions/s1", (run) => run());
  paths.start();
  await vi.waitFor(() => expect(paths.snapshot().status).toBe("ended"));
  expect(String(fetched.mock.calls[0]?.[0])).toBe(
    "/api/actors/event-path?path=%2Fusers%2Fada%2Fsessions%2Fs1",
  );
  const { events, received, dropped, oneClock, broken } = paths.snapshot();
  expect({ received, dropped, oneClock, broken }).toEqual({
    received: MAX_EVENTS + 5,
    dropped: 9,
    oneClock: false,
    broken: true,
  });
  expect(events).toHaveLength(MAX_EVENTS);
  expect(events.at(-1)?.seq).toBe(MAX_EVENTS + 4);
});

test("the time at the sockets is that of the slowest, and what is not known is not made up", () => {
  expect(hopTimes(event(1))).toEqual({
    translated: 2,
    committed: 3,
    sent: null,
    received: null,
    queued: 1,
    taken: 1,
    written: 20,
  });
  expect(hopTimes({ ...event(1), sockets: [] })).toMatchObject({ taken: null, written: null });
});

test("the events of sessions and their agents can be followed, and of nothing else", () => {
  for (const path of [
    "/users/a/sessions/s",
    "/users/a/runner/sessions/s",
    "/users/a/runner/sessions/s/agent",
  ])
    expect(hasEventPath(path), path).toBe(true);
  for (const path of [
    "/",
    "/users/a",
    "/users/a/sessions",
    "/users/a/runner/sessions",
    "/users/a/connections/1",
  ])
    expect(hasEventPath(path), path).toBe(false);
});
