/**
 * The server's side of the mux, with scripted agents. Transport-free: tests give it fake sockets,
 * `fake-server.ts` gives it real ones.
 */
import type { AgentEvent, ImageInput, InputRequest, Message, Part, ThinkingLevel } from "../src/lib/wire.ts";
import { FakeActors } from "./fake-actors.ts";
import { FakeSession, listed, MODELS } from "./fake-session.ts";

export interface Line {
  send(frame: Record<string, unknown>): void;
}

export interface ScriptContext {
  prompt: string;
  cwd: string;
  emit(event: AgentEvent): void;
  wait(ms: number): Promise<void>;
  nextId(prefix: string): string;
  finish(parts: Part[], id: string, extra?: Partial<Message>): void;
  ask(request: InputRequest): Promise<Record<string, unknown>>;
  aborted(): boolean;
}

export type Script = (context: ScriptContext) => Promise<void>;

type Frame = Record<string, unknown>;

const CAPABILITIES = [
  "prompt",
  "steer",
  "follow_up",
  "abort",
  "images",
  "set_model",
  "set_thinking_level",
  "compact",
];

export class FakeOcto {
  readonly sessions = new Map<string, FakeSession>();
  readonly actors = new FakeActors();
  /** Commands in the order they came, for tests that look at what a client sent. */
  readonly received: Frame[] = [];
  wait: (ms: number) => Promise<void> = (ms) => new Promise((done) => setTimeout(done, ms));
  private counter = 0;
  private readonly script: Script;

  constructor(script: Script) {
    this.script = script;
  }

  /** A new connection: greets, and gives back what to do with its frames and its end. */
  connect(line: Line): { receive: (text: string) => void; end: () => void } {
    const attached = new Map<string, () => void>();
    let unwatch = () => {};
    line.send({
      channel: "system",
      type: "connected",
      connection_id: `c${++this.counter}`,
      protocol: 1,
      resume: true,
    });
    line.send({ channel: "session", type: "connected" });
    return {
      receive: (text) => {
        const frame = JSON.parse(text) as Frame;
        if (frame.channel === "system" && frame.type === "ping")
          line.send({ channel: "system", type: "pong" });
        if (frame.type === "watch_actors" || frame.type === "unwatch_actors") unwatch();
        if (frame.type === "watch_actors")
          unwatch = this.actors.watch((look) => line.send({ channel: "system", id: frame.id, ...look }));
        if (frame.channel !== "agent") return;
        this.received.push(frame);
        this.handle(line, frame, attached);
      },
      end: () => {
        unwatch();
        for (const stop of attached.values()) stop();
        attached.clear();
      },
    };
  }

  create(id: string, cwd: string, title = ""): FakeSession {
    const session = new FakeSession(id, cwd, title);
    session.journal.append({ event: "session.created", resumed: false, harness: "pi" });
    this.sessions.set(id, session);
    return session;
  }

  private handle(line: Line, frame: Frame, attached: Map<string, () => void>): unknown {
    const id = String(frame.session_id ?? "");
    const cmd = String(frame.cmd);
    const reply = (data: unknown) =>
      line.send({
        channel: "agent",
        session_id: id,
        event: "response",
        id: frame.id ?? "",
        cmd,
        success: true,
        data,
        ts: Date.now(),
      });
    const refuse = (code: string, error: string) =>
      line.send({
        channel: "agent",
        session_id: id,
        event: "response",
        id: frame.id ?? "",
        cmd,
        success: false,
        code,
        error,
        ts: Date.now(),
      });

    if (cmd === "list_sessions") return reply({ sessions: [...this.sessions.values()].map(listed) });
    if (cmd === "get_models") return reply(MODELS);
    if (cmd === "session.create" && !this.sessions.has(id)) {
      const config = (frame.config ?? {}) as Frame;
      if (String(config.cwd).includes("missing")) {
        return refuse(
          "invalid_request",
          `the folder ${config.cwd} does not exist; create it or choose another`,
        );
      }
      this.create(id, String(config.cwd ?? "/"));
    }
    const session = this.sessions.get(id);
    if (!session) return refuse("session_not_found", "SessionNotFound: this session does not exist");
    const { journal } = session;

    switch (cmd) {
      case "session.create":
      case "session.attach": {
        attached.get(id)?.();
        const cursor = frame.cursor as { epoch: string; seq: number } | undefined;
        for (const event of journal.attach(cursor, session.agentState()))
          line.send({ channel: "agent", ...event });
        attached.set(
          id,
          journal.watch((event) => line.send({ channel: "agent", ...event })),
        );
        const { epoch, head } = journal;
        return reply({
          session_id: id,
          epoch,
          seq: head,
          harness: "pi",
          capabilities: CAPABILITIES,
          state: session.agentState(),
          resumed: true,
        });
      }
      case "session.detach":
        attached.get(id)?.();
        attached.delete(id);
        return reply(null);
      case "session.delete":
        this.sessions.delete(id);
        return reply(null);
      case "set_session_name":
        session.title = String(frame.name);
        journal.append({ event: "session.title_changed", title: session.title });
        return reply(null);
      case "set_model":
        session.model = { provider: String(frame.provider), id: String(frame.model_id) };
        journal.append({
          event: "config.model_changed",
          provider: session.model.provider,
          model_id: session.model.id,
        });
        return reply({ provider: frame.provider, model_id: frame.model_id });
      case "set_thinking_level":
        session.thinkingLevel = frame.level as ThinkingLevel;
        journal.append({ event: "config.thinking_level_changed", level: session.thinkingLevel });
        return reply({ level: frame.level });
      case "get_messages": {
        const before = Number(frame.before_idx ?? Number.MAX_SAFE_INTEGER);
        const limit = Number(frame.limit ?? 100);
        const older = journal.messages.filter((message) => message.idx < before);
        return reply({ messages: older.slice(-limit), has_more: older.length > limit });
      }
      case "prompt":
      case "steer":
      case "follow_up":
        return this.input(session, cmd, frame, () => reply(null), refuse);
      case "abort": {
        session.stop = true;
        for (const { answer } of session.requests.values()) answer({ cancelled: true });
        const parked = session.queue.splice(0);
        if (parked.length > 0) this.announceQueue(session);
        return reply({ parked });
      }
      case "input_response": {
        const open = session.requests.get(String(frame.request_id));
        if (!open) return refuse("invalid_state", "this question has been answered already");
        open.answer(frame);
        return reply(null);
      }
      case "get_state":
        return reply(session.agentState());
      default:
        return refuse("unsupported", `this agent cannot do ${cmd}`);
    }
  }

  private input(
    session: FakeSession,
    kind: "prompt" | "steer" | "follow_up",
    frame: Frame,
    reply: () => void,
    refuse: (code: string, error: string) => void,
  ): unknown {
    const client_id = typeof frame.client_id === "string" ? frame.client_id : undefined;
    const text = String(frame.message ?? "");
    if (client_id) {
      const before = session.seen.get(client_id);
      if (before === text) return reply();
      if (before !== undefined) return refuse("conflict", "this id was used for other input");
      session.seen.set(client_id, text);
    }
    const images = frame.images as ImageInput[] | undefined;
    session.journal.append({ event: "input.accepted", kind, client_id, message: text, images });
    reply();
    if (session.working) {
      session.queue.push({ kind, message: text, client_id });
      this.announceQueue(session);
    } else void this.run(session, text, client_id, images ?? []);
  }

  private announceQueue(session: FakeSession): void {
    const of = (kind: string) =>
      session.queue
        .filter((q) => (kind === "steer" ? q.kind !== "follow_up" : q.kind === "follow_up"))
        .map((q) => ({ ...q }));
    session.journal.append({ event: "queue.changed", steering: of("steer"), follow_up: of("follow_up") });
  }

  private async run(
    session: FakeSession,
    prompt: string,
    client_id: string | undefined,
    images: ImageInput[],
  ): Promise<void> {
    const { journal } = session;
    session.working = true;
    session.stop = false;
    session.activity = Date.now();
    const finish = (parts: Part[], id: string, extra: Partial<Message> = {}) => {
      const message = {
        id,
        idx: journal.messages.length,
        role: "assistant" as const,
        parts,
        created_at: Date.now(),
        ...extra,
      };
      journal.append({ event: "stream.message_end", message });
    };
    const nextId = (prefix: string) => `${prefix}_${session.id}_${++this.counter}`;
    const pictures: Part[] = images.map((image) => ({
      type: "image",
      id: nextId("img"),
      source: "base64",
      data: image.data,
      mimeType: image.media_type,
    }));
    finish([{ type: "text", id: nextId("part"), text: prompt }, ...pictures], nextId("msg"), {
      role: "user",
      client_id,
    });
    if (!session.title) {
      session.title = prompt.slice(0, 48);
      journal.append({ event: "session.title_changed", title: session.title });
    }
    journal.append({ event: "agent.working", phase: "generating" });
    await this.script({
      prompt,
      cwd: session.cwd,
      emit: (event) => journal.append(event),
      wait: (ms) => this.wait(ms),
      nextId,
      finish,
      aborted: () => session.stop,
      ask: (request) =>
        new Promise((answer) => {
          session.requests.set(request.request_id, {
            request,
            answer: (value) => {
              session.requests.delete(request.request_id);
              journal.append({ event: "agent.input_resolved", request_id: request.request_id });
              answer(value);
            },
          });
          journal.append({ event: "agent.input_needed", request });
        }),
    });
    journal.append({ event: "stream.done", reason: session.stop ? "aborted" : "stop" });
    const next = session.queue.shift();
    if (next) {
      this.announceQueue(session);
      return this.run(session, next.message, next.client_id, []);
    }
    session.working = false;
    session.activity = Date.now();
    journal.append({ event: "agent.idle" });
  }
}
