import { afterEach, expect, test, vi } from "vitest";
import type { TraceLine } from "../wire";
import { MAX_MESSAGES, Trace } from "./trace";

afterEach(() => {
  vi.restoreAllMocks();
});

/** An answer that goes on: what is put in comes out, until it is ended. */
function answer() {
  let pipe: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      pipe = controller;
    },
  });
  const fetched = vi
    .spyOn(globalThis, "fetch")
    .mockResolvedValue({ ok: true, status: 200, body } as unknown as globalThis.Response);
  const put = (text: string) => pipe?.enqueue(new TextEncoder().encode(text));
  return {
    fetched,
    put,
    line: (line: TraceLine) => put(`${JSON.stringify(line)}\n`),
    end: () => pipe?.close(),
  };
}

const message = (n: number): TraceLine => ({
  message: { path: "/users/ada", message: `m${n}`, handled_us: n, outcome: "ok" },
});

test("messages come line by line, wherever the network cuts them, and what was lost is counted", async () => {
  const { fetched, put, line } = answer();
  const trace = new Trace("/users/ada", (run) => run());
  trace.start();
  trace.start();
  expect(fetched).toHaveBeenCalledTimes(1);
  expect(String(fetched.mock.calls[0]?.[0])).toBe("/api/actors/trace?path=%2Fusers%2Fada");
  const text = JSON.stringify(message(1));
  put(`${text.slice(0, 20)}`);
  put(`${text.slice(20)}\n"quiet"\n`);
  line({ dropped: 7 });
  line({ lost: { path: "/users/ada/runner", reason: "it is away" } });
  await vi.waitFor(() => expect(trace.snapshot().lost).toHaveLength(1));
  expect(trace.snapshot()).toMatchObject({ status: "running", received: 1, dropped: 7 });
  expect(trace.snapshot().messages[0]?.message.message).toBe("m1");
});

test("only the newest messages are kept, and stopping keeps them", async () => {
  const { fetched, line } = answer();
  const trace = new Trace("/", (run) => run());
  trace.start();
  for (let n = 0; n < MAX_MESSAGES + 50; n += 1) line(message(n));
  await vi.waitFor(() => expect(trace.snapshot().received).toBe(MAX_MESSAGES + 50));
  expect(trace.snapshot().messages).toHaveLength(MAX_MESSAGES);
  expect(trace.snapshot().messages.at(-1)?.message.message).toBe(`m${MAX_MESSAGES + 49}`);
  trace.stop();
  expect(trace.snapshot()).toMatchObject({
    status: "ended",
    error: null,
    broken: false,
    received: MAX_MESSAGES + 50,
  });
  expect(fetched.mock.calls[0]?.[1]?.signal?.aborted).toBe(true);
});

test("a trace that is refused, or that octo ends, says why", async () => {
  const { end } = answer();
  const ended = new Trace("/", (run) => run());
  ended.start();
  end();
  await vi.waitFor(() => expect(ended.snapshot().status).toBe("ended"));
  expect(ended.snapshot()).toMatchObject({ broken: true, error: null });
  vi.spyOn(globalThis, "fetch").mockResolvedValue(
    new Response(
      JSON.stringify({ error: "4 traces of yours are running already", code: "TOO_MANY_REQUESTS" }),
      {
        status: 429,
      },
    ),
  );
  const refused = new Trace("/", (run) => run());
  refused.start();
  await vi.waitFor(() => expect(refused.snapshot().error).toContain("4 traces"));
});
