/**
 * A session's journal as the protocol describes it: sequence numbers without gaps, deltas pruned once
 * their message is finished, attach by cursor. The fake server and the tests of resume share it.
 */
import type { AgentEvent, AgentState, Cursor, Message, SessionEvent } from "../src/lib/wire.ts";

const UNSEQUENCED = new Set([
  "session.heartbeat",
  "session.unreachable",
  "session.reachable",
  "tool.progress",
  "messages",
  "replay.start",
  "replay.end",
  "persisted",
  "stream.resync_required",
]);

const EMPTY_STATE: AgentState = {
  thinkingLevel: "off",
  isStreaming: false,
  isCompacting: false,
  steeringMode: "all",
  followUpMode: "all",
  sessionId: "",
  autoCompactionEnabled: false,
  messageCount: 0,
  pendingMessageCount: 0,
  pendingInput: [],
  status: "idle",
  queued: [],
  runningTools: [],
};

const SNAPSHOT_MESSAGES = 200;

export class FakeJournal {
  readonly sessionId: string;
  epoch = "e1";
  head = 0;
  rows: (SessionEvent & { seq: number })[] = [];
  messages: Message[] = [];
  private readonly watchers = new Set<(event: SessionEvent) => void>();

  constructor(sessionId: string) {
    this.sessionId = sessionId;
  }

  /** Journals an event (or only announces it, where its kind is not journalled) and shows it to all. */
  append(event: AgentEvent): SessionEvent {
    const sequenced = !UNSEQUENCED.has(event.event);
    if (sequenced) this.head += 1;
    const full = this.envelope(event, sequenced ? this.head : undefined);
    if (sequenced) {
      this.rows.push(full as SessionEvent & { seq: number });
      if (event.event === "stream.message_end") {
        this.messages.push(event.message);
        this.prune(event.message.id);
      } else if (event.event === "stream.message_discarded") this.prune(event.message_id);
    }
    for (const watcher of [...this.watchers]) watcher(full);
    return full;
  }

  /** Says something to all who watch without journalling it. */
  announce(event: AgentEvent): void {
    for (const watcher of [...this.watchers]) watcher(this.envelope(event));
  }

  watch(watcher: (event: SessionEvent) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** The frames a client gets on attach, up to now; live events follow by `watch`. */
  attach(cursor: Cursor | undefined, state: AgentState = EMPTY_STATE): SessionEvent[] {
    if (cursor && cursor.epoch === this.epoch && cursor.seq <= this.head) return this.replay(cursor.seq);
    const asOf = this.asOf();
    const finished = new Set(
      this.rows.flatMap((row) =>
        row.event === "stream.message_end" && row.seq <= asOf ? [row.message.id] : [],
      ),
    );
    const all = this.messages.filter((message) => finished.has(message.id));
    const messages = all.slice(-SNAPSHOT_MESSAGES);
    const has_more = all.length > messages.length;
    const frames = cursor ? [this.envelope({ event: "stream.resync_required", reason: "epoch" })] : [];
    frames.push(this.envelope({ event: "messages", messages, as_of: asOf, has_more, state }));
    return [...frames, ...this.replay(asOf)];
  }

  private replay(after: number): SessionEvent[] {
    if (after >= this.head) return [];
    const rows = this.rows.filter((row) => row.seq > after);
    return [
      this.envelope({ event: "replay.start", after }),
      ...rows,
      this.envelope({ event: "replay.end", count: rows.length }, this.head),
    ];
  }

  /** Before the oldest item that is still open. */
  private asOf(): number {
    const open = new Map<string, number>();
    for (const row of this.rows) {
      if (row.event === "stream.message_start") open.set(row.message_id, row.seq);
      else if (row.event === "stream.message_end") open.delete(row.message.id);
      else if (row.event === "tool.start") open.set(row.tool_call_id, row.seq);
      else if (row.event === "tool.end") open.delete(row.tool_call_id);
    }
    return Math.min(this.head, ...[...open.values()].map((seq) => seq - 1));
  }

  private prune(messageId: string): void {
    this.rows = this.rows.filter(
      (row) =>
        !(
          "message_id" in row &&
          row.message_id === messageId &&
          row.event.startsWith("stream.") &&
          row.event !== "stream.message_discarded"
        ),
    );
  }

  private envelope(event: AgentEvent, seq?: number): SessionEvent {
    const base = { session_id: this.sessionId, runner_id: "fake", ts: Date.now(), epoch: this.epoch };
    return { ...base, ...(seq === undefined ? {} : { seq }), ...event } as SessionEvent;
  }
}
