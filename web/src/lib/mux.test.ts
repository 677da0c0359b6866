import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { backoff, LONGEST_DELAY_MS } from "./backoff";
import { Mux, PROBE_MS, SILENCE_MS, type Socket } from "./mux";
import { isUncertain } from "./mux-error";

class FakeSocket implements Socket {
  sent: Record<string, unknown>[] = [];
  closedWith: number | undefined;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close(code?: number) {
    this.closedWith = code ?? 1005;
  }
  say(frame: Record<string, unknown>) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  greet() {
    this.say({ channel: "system", type: "connected" });
  }
}

let sockets: FakeSocket[];
let refused: number;
let mux: Mux;
const last = () => sockets.at(-1) as FakeSocket;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  refused = 0;
  mux = new Mux({
    open: () => {
      sockets.push(new FakeSocket());
      return last();
    },
    random: () => 1,
    onRefused: () => {
      refused += 1;
    },
  });
  mux.start();
});

afterEach(() => {
  mux.stop();
  vi.useRealTimers();
});

test("responses find their commands by id, whatever their order", async () => {
  last().greet();
  const one = mux.command("s", "get_state");
  const two = mux.command("s", "get_models");
  const [a, b] = last().sent.map((frame) => frame.id);
  last().say({ channel: "agent", event: "response", id: b, success: true, data: 2 });
  last().say({ channel: "agent", event: "response", id: a, success: true, data: 1 });
  expect(await Promise.all([one, two])).toEqual([1, 2]);
});

test("a refused command carries the server's code and sentence", async () => {
  last().greet();
  const answer = mux.command("s", "fork");
  last().say({
    channel: "agent",
    event: "response",
    id: last().sent[0]?.id,
    success: false,
    code: "unsupported",
    error: "no",
  });
  await expect(answer).rejects.toMatchObject({ code: "unsupported", message: "no" });
});

test("a command without an answer ends after its time as uncertain", async () => {
  last().greet();
  const answer = mux.command("s", "compact", {}, { timeoutMs: 50 }).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(50);
  expect(isUncertain(await answer)).toBe(true);
});

test("a lost socket ends what waits, and another one is opened after the back-off", async () => {
  last().greet();
  const answer = mux.command("s", "get_state").catch((error: unknown) => error);
  last().onclose?.({ code: 1006 });
  expect(isUncertain(await answer)).toBe(true);
  expect(mux.status).toBe("waiting");
  await vi.advanceTimersByTimeAsync(300);
  expect(sockets).toHaveLength(2);
  last().greet();
  expect(mux.status).toBe("open");
  expect(refused).toBe(0);
});

test("close code 1000 means: do not come back", async () => {
  last().greet();
  last().onclose?.({ code: 1000 });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sockets).toHaveLength(1);
  expect(mux.status).toBe("ended");
});

test("a socket that closes before its greeting asks whether the login still holds", () => {
  last().onclose?.({ code: 1006 });
  expect(refused).toBe(1);
});

test("waits double up to ten seconds and are never longer", () => {
  expect([0, 1, 2, 9, 40].map((n) => backoff(n, () => 1))).toEqual([
    300,
    600,
    1200,
    LONGEST_DELAY_MS,
    LONGEST_DELAY_MS,
  ]);
  expect(backoff(3, () => 0)).toBe(1200);
});

test("a restarting server is tried again quickly, however often it failed before", async () => {
  for (let n = 0; n < 6; n += 1) {
    last().onclose?.({ code: 1006 });
    await vi.advanceTimersByTimeAsync(LONGEST_DELAY_MS);
  }
  const before = sockets.length;
  last().onclose?.({ code: 1012 });
  await vi.advanceTimersByTimeAsync(300);
  expect(sockets).toHaveLength(before + 1);
});

test("a ping on the session channel is answered", () => {
  last().greet();
  last().say({ channel: "session", type: "ping" });
  expect(last().sent).toEqual([{ channel: "session", type: "pong" }]);
});

test("a peer that falls silent is given up, and so is one that misses a probe", async () => {
  last().greet();
  await vi.advanceTimersByTimeAsync(SILENCE_MS);
  expect(mux.status).toBe("waiting");
  await vi.advanceTimersByTimeAsync(300);
  last().greet();
  mux.nudge();
  expect(last().sent).toEqual([{ channel: "system", type: "ping" }]);
  await vi.advanceTimersByTimeAsync(PROBE_MS);
  expect(mux.status).toBe("waiting");
});

test("what is not JSON, or no object, is passed over and the connection lives", () => {
  last().greet();
  last().onmessage?.({ data: "{" });
  last().onmessage?.({ data: "null" });
  last().onmessage?.({ data: "[1]" });
  expect(mux.status).toBe("open");
});
