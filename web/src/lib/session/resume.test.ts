import fc from "fast-check";
import { expect, test } from "vitest";
import { FakeJournal } from "../../../test/fake-journal.ts";
import { turn } from "../../../test/story.ts";
import type { AgentEvent, SessionEvent } from "../wire";
import { disconnected } from "./cursor";
import { reduce } from "./reduce";
import { emptySession, type SessionState } from "./state";

const stories = fc.array(fc.nat(59), { minLength: 1, maxLength: 6 });
const events = (kinds: number[]): AgentEvent[] => kinds.flatMap((kind, n) => turn(n, kind));

function begin(journal: FakeJournal): SessionState {
  return journal.attach(undefined).reduce(reduce, emptySession());
}

/** Tool runs whose input came by a pruned event differ only in what the card knows of their start. */
function comparable(state: SessionState): unknown {
  const items = state.items.map((item) => (item.kind === "notice" ? { ...item, ts: 0 } : item));
  const tools = Object.values(state.tools).map((run) => ({ ...run, startedAt: 0 }));
  return { ...state, items, tools };
}

function uninterrupted(story: AgentEvent[]): SessionState {
  const journal = new FakeJournal("s");
  let state = begin(journal);
  for (const event of story) state = reduce(state, journal.append(event));
  return state;
}

test("a stream that is cut anywhere and resumed ends in the state of one that never was", () => {
  fc.assert(
    fc.property(stories, fc.array(fc.tuple(fc.nat(), fc.nat(40)), { maxLength: 8 }), (kinds, cuts) => {
      const story = events(kinds);
      const journal = new FakeJournal("s");
      let state = begin(journal);
      const gaps = new Map(cuts.map(([at, length]) => [at % story.length, length]));
      let away = 0;
      for (const [at, event] of story.entries()) {
        const frame = journal.append(event);
        if (away === 0 && gaps.has(at)) away = 1 + (gaps.get(at) ?? 0);
        if (away === 0) state = reduce(state, frame);
        else {
          away -= 1;
          if (away === 0)
            state = journal.attach(state.cursor ?? undefined).reduce(reduce, disconnected(state));
        }
      }
      state = journal.attach(state.cursor ?? undefined).reduce(reduce, disconnected(state));
      expect(comparable(state)).toEqual(comparable(uninterrupted(story)));
    }),
    { numRuns: 300 },
  );
});

test("a replay that is itself cut in the middle is continued from where it was", () => {
  fc.assert(
    fc.property(stories, fc.nat(), fc.nat(), (kinds, leave, cut) => {
      const story = events(kinds);
      const journal = new FakeJournal("s");
      let state = begin(journal);
      for (const [at, event] of story.entries()) {
        const frame = journal.append(event);
        if (at < leave % story.length) state = reduce(state, frame);
      }
      const replay = journal.attach(state.cursor ?? undefined);
      state = replay.slice(0, cut % (replay.length + 1)).reduce(reduce, state);
      state = journal.attach(state.cursor ?? undefined).reduce(reduce, disconnected(state));
      expect(comparable(state)).toEqual(comparable(uninterrupted(story)));
    }),
    { numRuns: 300 },
  );
});

test("attaching without a cursor at any point ends with the same messages, tools and activity", () => {
  fc.assert(
    fc.property(stories, fc.nat(), (kinds, at) => {
      const story = events(kinds);
      const journal = new FakeJournal("s");
      const join = at % story.length;
      let state = emptySession();
      for (const [n, event] of story.entries()) {
        const frame = journal.append(event);
        if (n === join) state = journal.attach(undefined).reduce(reduce, state);
        else if (n > join) state = reduce(state, frame);
      }
      const whole = uninterrupted(story);
      const messages = (s: SessionState) =>
        s.items.flatMap((item) => (item.kind === "message" ? [item.message] : []));
      expect(messages(state)).toEqual(messages(whole));
      expect(Object.keys(state.tools)).toEqual(Object.keys(whole.tools));
      for (const [id, run] of Object.entries(state.tools)) {
        expect(run.phase).toBe(whole.tools[id]?.phase);
        expect(run.output).toEqual(whole.tools[id]?.output);
      }
      expect(state.live).toEqual({});
      expect(state.cursor).toEqual(whole.cursor);
    }),
    { numRuns: 300 },
  );
});

test("events that arrive twice change nothing", () => {
  const story = events([1, 2, 3]);
  const journal = new FakeJournal("s");
  let state = begin(journal);
  for (const event of story) {
    const frame = journal.append(event);
    state = reduce(state, frame);
    if (frame.seq !== undefined) expect(reduce(state, frame)).toBe(state);
  }
});

test("a jump outside a replay is a loss: nothing is taken until the stream is attached again", () => {
  const journal = new FakeJournal("s");
  let state = begin(journal);
  const frames = events([0]).map((event) => journal.append(event));
  state = reduce(state, frames[0] as SessionEvent);
  const broken = reduce(state, frames[2] as SessionEvent);
  expect(broken.sync).toBe("gap");
  expect(broken.cursor).toEqual(state.cursor);
  expect(reduce(broken, frames[3] as SessionEvent)).toBe(broken);
  const mended = journal.attach(broken.cursor ?? undefined).reduce(reduce, broken);
  expect(mended.sync).toBe("live");
  expect(mended.cursor?.seq).toBe(journal.head);
});

test("a new epoch is noticed, and the snapshot that follows replaces everything", () => {
  const journal = new FakeJournal("s");
  let state = begin(journal);
  for (const event of events([2])) state = reduce(state, journal.append(event));
  const fresh = new FakeJournal("s");
  fresh.epoch = "e2";
  const stray = fresh.append({ event: "agent.idle" });
  state = reduce(state, stray);
  expect(state.sync).toBe("gap");
  state = fresh.attach(state.cursor ?? undefined).reduce(reduce, state);
  expect(state.cursor).toEqual({ epoch: "e2", seq: 1 });
  expect(state.items).toEqual([]);
});

test("a heartbeat of another epoch, or of a head that was not reached by the next one, is a loss", () => {
  const journal = new FakeJournal("s");
  let state = begin(journal);
  for (const event of events([0])) state = reduce(state, journal.append(event));
  const seq = state.cursor?.seq ?? 0;
  const beat = (epoch: string, head: number): SessionEvent =>
    ({ ...journal.append({ event: "session.heartbeat", process: { alive: true }, head }), epoch }) as SessionEvent;
  const epoch = state.cursor?.epoch ?? "";
  expect(reduce(reduce(state, beat(epoch, seq)), beat(epoch, seq)).sync).toBe("live");
  expect(reduce(state, beat(epoch, seq + 1)).sync).toBe("live");
  expect(reduce(reduce(state, beat(epoch, seq + 1)), beat(epoch, seq + 1)).sync).toBe("gap");
  expect(reduce(state, beat("another", seq)).sync).toBe("gap");
});
