import { expect, test } from "vitest";
import { FakeOcto } from "../../../test/fake-octo.ts";
import { Mux, type Socket } from "../mux";
import { Feed } from "./feed";
import type { Unsent, UnsentStore } from "./unsent";

/** A client and a server joined by sockets that can be cut at any frame. */
class Wire {
  readonly octo: FakeOcto;
  readonly mux: Mux;
  deliver = true;
  private close: (() => void) | undefined;

  constructor() {
    this.octo = new FakeOcto(async ({ prompt, emit, nextId, finish, wait }) => {
      const id = nextId("msg");
      emit({ event: "stream.message_start", message_id: id, role: "assistant" });
      for (const word of ["re", "ply ", "to ", prompt]) {
        emit({ event: "stream.text_delta", message_id: id, delta: word, content_index: 0 });
        await wait(1);
      }
      finish([{ type: "text", id: nextId("p"), text: `reply to ${prompt}` }], id);
    });
    this.octo.wait = () => new Promise((done) => setTimeout(done, 0));
    this.mux = new Mux({ open: () => this.open(), random: () => 0 });
    this.mux.start();
  }

  cut(): void {
    this.close?.();
  }

  private open(): Socket {
    const socket: Socket = { send: () => undefined, close: () => undefined, onmessage: null, onclose: null };
    let alive = true;
    queueMicrotask(() => {
      const peer = this.octo.connect({
        send: (frame) => {
          const text = JSON.stringify(frame);
          queueMicrotask(() => alive && this.deliver && socket.onmessage?.({ data: text }));
        },
      });
      socket.send = (text) => queueMicrotask(() => alive && peer.receive(text));
      this.close = () => {
        alive = false;
        peer.end();
        socket.onclose?.({ code: 1006 });
      };
    });
    return socket;
  }
}

const settle = async (until: () => boolean) => {
  for (let n = 0; n < 2000 && !until(); n += 1) await new Promise((done) => setTimeout(done, 1));
  expect(until()).toBe(true);
};

function start(kept?: UnsentStore) {
  const wire = new Wire();
  wire.octo.create("s", "/w");
  const feed = new Feed("s", wire.mux, (run) => run(), kept);
  feed.open();
  return { wire, feed };
}

const texts = (feed: Feed) =>
  feed
    .snapshot()
    .session.items.flatMap((item) =>
      item.kind === "message" ? item.message.parts.map((p) => ("text" in p ? p.text : "")) : [],
    );
const idle = (feed: Feed) => feed.snapshot().session.activity === "idle";

test("a prompt is shown as sending, then as a message, and its reply once", async () => {
  const { feed } = start();
  feed.send("prompt", "one");
  expect(feed.snapshot().outbox).toHaveLength(1);
  await settle(() => texts(feed).length === 2 && idle(feed));
  expect(feed.snapshot().outbox).toEqual([]);
  expect(feed.snapshot().session.accepted).toEqual([]);
  expect(texts(feed)).toEqual(["one", "reply to one"]);
});

test("a prompt whose response was lost is sent again and runs once", async () => {
  const { wire, feed } = start();
  await settle(() => feed.snapshot().capabilities !== null);
  wire.deliver = false;
  feed.send("prompt", "once");
  await settle(() => wire.octo.received.some((frame) => frame.cmd === "prompt"));
  wire.cut();
  wire.deliver = true;
  await settle(() => texts(feed).length === 2 && idle(feed));
  await settle(() => feed.snapshot().outbox.length === 0);
  expect(texts(feed)).toEqual(["once", "reply to once"]);
});

test("cutting the socket again and again in mid-stream loses and doubles nothing", async () => {
  const { wire, feed } = start();
  const prompts = Array.from({ length: 12 }, (_, n) => `p${n}`);
  for (const [n, prompt] of prompts.entries()) {
    feed.send("prompt", prompt);
    if (n % 2 === 0) await settle(() => wire.octo.received.some((frame) => frame.message === prompt));
    wire.cut();
    await settle(() => texts(feed).includes(`reply to ${prompt}`) && idle(feed));
  }
  expect(texts(feed)).toEqual(prompts.flatMap((prompt) => [prompt, `reply to ${prompt}`]));
});

test("a lost frame is noticed by its number and mended by attaching again", async () => {
  const { wire, feed } = start();
  await settle(() => feed.snapshot().capabilities !== null);
  const journal = wire.octo.sessions.get("s")?.journal;
  wire.deliver = false;
  journal?.append({ event: "notify", level: "info", message: "lost on the way" });
  await new Promise((done) => setTimeout(done, 1));
  wire.deliver = true;
  journal?.append({ event: "notify", level: "info", message: "shows the gap" });
  await settle(() => feed.snapshot().session.items.length === 2);
  expect(feed.snapshot().session.sync).toBe("live");
});

test("a session that somebody else deletes is noticed", async () => {
  const { wire, feed } = start();
  await settle(() => feed.snapshot().capabilities !== null);
  const journal = wire.octo.sessions.get("s")?.journal;
  wire.octo.sessions.delete("s");
  journal?.announce({ event: "session.closed", reason: "deleted" });
  await settle(() => feed.snapshot().failure?.code === "session_not_found");
});

test("input that octo refuses stays, with the reason, and can be sent again", async () => {
  const { wire, feed } = start();
  wire.octo.sessions.delete("s");
  feed.send("prompt", "lost?");
  await settle(() => feed.snapshot().outbox[0]?.failed != null);
  expect(feed.snapshot().failure?.code).toBe("session_not_found");
  wire.octo.create("s", "/w");
  feed.retry(feed.snapshot().outbox[0]?.clientId as string);
  await settle(() => feed.snapshot().outbox.length === 0);
});

test("a prompt without an answer is sent again after a reload of the page, and runs once", async () => {
  const shelf = new Map<string, Unsent | null>();
  const kept = {
    get: (id: string) => shelf.get(id) ?? null,
    put: (id: string, u: Unsent | null) => shelf.set(id, u),
  };
  const { wire, feed } = start(kept);
  await settle(() => feed.snapshot().capabilities !== null);
  wire.deliver = false;
  feed.send("prompt", "kept");
  await settle(() => wire.octo.received.some((frame) => frame.cmd === "prompt"));
  wire.cut();
  const sent = shelf.get("s")?.outbox[0]?.clientId;
  // The page is loaded anew: a new feed, of which only the shelf knows what was written.
  feed.close();
  wire.deliver = true;
  const again = new Feed("s", wire.mux, (run) => run(), kept);
  expect(again.snapshot().outbox.map((entry) => entry.clientId)).toEqual([sent]);
  again.open();
  await settle(() => texts(again).length === 2 && again.snapshot().outbox.length === 0);
  expect(texts(again)).toEqual(["kept", "reply to kept"]);
  expect(shelf.get("s")).toBeNull();
});
