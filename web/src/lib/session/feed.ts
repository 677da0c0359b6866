/**
 * One session as a screen sees it: attaches, follows the stream, resumes after a cut, and sends input.
 * Owns the state of the projection and the outbox; never the socket.
 */
import { randomId } from "../id";
import type { Mux } from "../mux";
import { isUncertain, MuxError } from "../mux-error";
import type {
  ImageInput,
  InputKind,
  MessagePage,
  QueuedInput,
  SessionEvent,
  SessionOpened,
  SessionStats,
} from "../wire";
import { disconnected } from "./cursor";
import { oldestIdx, prependMessages } from "./messages";
import * as outbox from "./outbox";
import { reduce } from "./reduce";
import { withSettings } from "./snapshot";
import { emptySession, type SessionState } from "./state";
import type { UnsentStore } from "./unsent";

export interface FeedView {
  session: SessionState;
  outbox: outbox.Outbox;
  /** Why the session cannot be shown, when it cannot. */
  failure: { code: string; message: string } | null;
  capabilities: string[] | null;
  loadingOlder: boolean;
  /** Queued input that an abort gave back. */
  parked: QueuedInput[];
}

/** Calls `run` once per frame at most; hidden pages have no frames, so a timer stands in. */
export type Schedule = (run: () => void) => void;

export const PAGE = 100;
/** Attaching again because of a gap: this many times at once, then only after a pause. */
const GAP_BURST = 3;
const GAP_PAUSE_MS = 1_000;
const ATTACH_TIMEOUT_MS = 20_000;
const ATTACH_RETRY_MS = 2_000;
const INPUT_TIMEOUT_MS = 60_000;
/** As long as octo itself waits for a command of a person. */
const COMMAND_TIMEOUT_MS = 3_600_000;

export class Feed {
  readonly id: string;
  private readonly mux: Mux;
  private readonly schedule: Schedule;
  private readonly kept: UnsentStore | undefined;
  private view: FeedView;
  private next: FeedView;
  private scheduled = false;
  private attaching = false;
  private gaps = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly inFlight = new Set<string>();
  private readonly watchers = new Set<() => void>();
  private stops: (() => void)[] = [];

  constructor(id: string, mux: Mux, schedule: Schedule, kept?: UnsentStore) {
    this.id = id;
    this.mux = mux;
    this.schedule = schedule;
    this.kept = kept;
    const before = kept?.get(id);
    this.view = {
      session: emptySession(),
      outbox: before?.outbox ?? [],
      failure: null,
      capabilities: null,
      loadingOlder: false,
      parked: before?.parked ?? [],
    };
    this.next = this.view;
  }

  /** Begins to follow the session; a state from before is continued from its cursor. */
  open(): void {
    if (this.stops.length > 0) return;
    this.stops = [
      this.mux.onSession(this.id, (event) => this.receive(event)),
      this.mux.onStatus((status) => {
        if (status === "open") this.attach();
        else this.cut();
      }),
    ];
    if (this.mux.status === "open") this.attach();
  }

  /** Stops following. The session runs on, and what is known of it stays for the next `open`. */
  close(): void {
    for (const stop of this.stops) stop();
    this.stops = [];
    clearTimeout(this.timer);
    if (this.mux.status === "open") void this.mux.command(this.id, "session.detach").catch(() => undefined);
    this.cut();
  }

  get isOpen(): boolean {
    return this.stops.length > 0;
  }

  get hasUnsent(): boolean {
    return this.next.outbox.length > 0;
  }

  subscribe = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  snapshot = (): FeedView => this.view;

  /** Sends input, now or as soon as there is a connection. */
  send(kind: InputKind, message: string, images: ImageInput[] = []): void {
    const clientId = randomId();
    this.update({ outbox: outbox.add(this.next.outbox, { clientId, kind, message, images }) });
    this.flush();
  }

  retry(clientId: string): void {
    this.update({ outbox: outbox.retry(this.next.outbox, clientId) });
    this.flush();
  }

  takeBack(clientId: string): void {
    this.update({ outbox: outbox.remove(this.next.outbox, clientId) });
  }

  /** Runs a command in the agent's place; resolved when it is done. */
  async runCommand(command: string): Promise<void> {
    await this.mux.command(this.id, "bash", { command }, { timeoutMs: COMMAND_TIMEOUT_MS });
  }

  async endCommand(): Promise<void> {
    await this.mux.command(this.id, "abort_bash");
  }

  async abort(): Promise<void> {
    const data = await this.mux.command<{ parked?: QueuedInput[] } | null>(this.id, "abort");
    // In the order in which the agent would have read them: at its next step, then when it is done.
    const parked = [...(data?.parked ?? [])].sort(
      (a, b) => Number(a.kind === "follow_up") - Number(b.kind === "follow_up"),
    );
    if (parked.length === 0) return;
    const ids = new Set(parked.map((entry) => entry.client_id));
    const { session } = this.next;
    this.update({
      parked: [...this.next.parked, ...parked],
      session: { ...session, accepted: session.accepted.filter((a) => !ids.has(a.clientId)) },
    });
  }

  dropParked(entry: QueuedInput): void {
    this.update({ parked: this.next.parked.filter((parked) => parked !== entry) });
  }

  command<T = unknown>(cmd: string, payload: Record<string, unknown> = {}): Promise<T> {
    return this.mux.command<T>(this.id, cmd, payload);
  }

  async loadOlder(): Promise<void> {
    const before = oldestIdx(this.next.session);
    if (this.next.loadingOlder || !this.next.session.hasMore || before === null) return;
    this.update({ loadingOlder: true });
    try {
      const { messages, has_more, removed } = await this.command<MessagePage>("get_messages", {
        before_idx: before,
        limit: PAGE,
      });
      const older = messages.filter((message) => message.idx < before);
      this.update({
        session: prependMessages(
          this.next.session,
          older,
          has_more ?? messages.length >= PAGE,
          // What was there at the attach may have gone since.
          removed ?? this.next.session.removed,
        ),
      });
    } finally {
      this.update({ loadingOlder: false });
    }
  }

  private receive(event: SessionEvent): void {
    const session = reduce(this.next.session, event);
    if (event.event === "input.accepted" && event.client_id) {
      this.update({ session, outbox: outbox.remove(this.next.outbox, event.client_id) });
    } else if (event.event === "stream.message_end" && event.message.client_id) {
      this.update({ session, outbox: outbox.remove(this.next.outbox, event.message.client_id) });
    } else if (session !== this.next.session) {
      this.update({ session });
    }
    if (session.sync === "gap" && !this.attaching) this.mendGap();
    if (event.event === "messages" && event.has_more) this.askTotal();
    // Outside the journal this is the server's last word on the session: asking again tells whether it is gone.
    if (event.event === "session.closed" && event.seq === undefined) this.attachLater();
    if (session.sync === "live") this.gaps = 0;
  }

  /** Not all messages are here, so their sum is not the session's: octo knows it. */
  private askTotal(): void {
    this.command<SessionStats>("get_stats").then(
      ({ tokens, cost }) => {
        if (this.next.session.total) return;
        const total = { input_tokens: tokens.input, output_tokens: tokens.output, cost_usd: cost };
        this.update({ session: { ...this.next.session, total } });
      },
      () => undefined, // The figure is then of what is loaded.
    );
  }

  private mendGap(): void {
    clearTimeout(this.timer);
    this.gaps += 1;
    if (this.gaps <= GAP_BURST) this.attach();
    else this.timer = setTimeout(() => this.attach(), GAP_PAUSE_MS);
  }

  private attach(): void {
    if (this.attaching || this.mux.status !== "open") return;
    this.attaching = true;
    const cursor = this.next.session.cursor;
    const usable = cursor !== null && cursor.epoch !== "" ? { cursor } : {};
    if (!("cursor" in usable)) this.update({ session: { ...this.next.session, sync: "snapshot" } });
    this.mux
      .command<SessionOpened | null>(this.id, "session.attach", usable, { timeoutMs: ATTACH_TIMEOUT_MS })
      .then(
        (data) => this.attached(data),
        (error: unknown) => this.refused(error),
      );
  }

  private attached(data: SessionOpened | null): void {
    this.attaching = false;
    // Activity and open questions come by the stream alone: this answer may be older than its last event.
    let session = withSettings(this.next.session, data?.state);
    if (session.cursor?.epoch === "" && data?.epoch) {
      session = { ...session, cursor: { ...session.cursor, epoch: data.epoch } };
    }
    this.update({ session, failure: null, capabilities: data?.capabilities ?? this.next.capabilities });
    if (session.sync === "gap") this.mendGap();
    this.flush();
  }

  private refused(error: unknown): void {
    this.attaching = false;
    if (error instanceof MuxError && error.code === "disconnected") return;
    const code = error instanceof MuxError ? error.code : "internal";
    const message = error instanceof Error ? error.message : String(error);
    this.update({ failure: { code, message } });
    const gone = code === "session_not_found" || code === "permission_denied" || code === "invalid_request";
    // What was written for a session that is gone gets the same refusal, and so is not lost in silence.
    if (gone) this.flush();
    else this.attachLater();
  }

  private attachLater(): void {
    if (!this.isOpen) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.attach(), ATTACH_RETRY_MS);
  }

  private cut(): void {
    this.attaching = false;
    this.inFlight.clear();
    clearTimeout(this.timer);
    const session = disconnected(this.next.session);
    if (session !== this.next.session) this.update({ session });
  }

  /** Sends what has no answer yet. Also for a session that nobody looks at: what was written is to arrive. */
  flush(): void {
    if (this.mux.status !== "open") return;
    for (const entry of outbox.unanswered(this.next.outbox)) {
      if (!this.inFlight.has(entry.clientId)) this.transmit(entry);
    }
  }

  private transmit(entry: outbox.Outgoing): void {
    this.inFlight.add(entry.clientId);
    const payload: Record<string, unknown> = { message: entry.message, client_id: entry.clientId };
    if (entry.images.length > 0) payload.images = entry.images;
    this.mux.command(this.id, entry.kind, payload, { timeoutMs: INPUT_TIMEOUT_MS }).then(
      () => {
        this.inFlight.delete(entry.clientId);
        this.settle(entry);
      },
      (error: unknown) => {
        this.inFlight.delete(entry.clientId);
        // Whether octo has it is unknown: it stays, and is sent again with the same id.
        if (isUncertain(error)) return;
        const reason = error instanceof Error ? error.message : String(error);
        this.update({ outbox: outbox.fail(this.next.outbox, entry.clientId, reason) });
      },
    );
  }

  /** Accepted: shown from the journal from now on. The event may come a little after the response. */
  private settle(entry: outbox.Outgoing): void {
    const { session } = this.next;
    const known =
      session.accepted.some((a) => a.clientId === entry.clientId) ||
      session.items.some((i) => i.kind === "message" && i.message.client_id === entry.clientId);
    const accepted = known
      ? session.accepted
      : [
          ...session.accepted,
          { clientId: entry.clientId, kind: entry.kind, message: entry.message, images: entry.images },
        ];
    this.update({
      session: accepted === session.accepted ? session : { ...session, accepted },
      outbox: outbox.remove(this.next.outbox, entry.clientId),
    });
  }

  private update(change: Partial<FeedView>): void {
    const before = this.next;
    this.next = { ...this.next, ...change };
    this.keep(before);
    if (this.scheduled) return;
    this.scheduled = true;
    this.schedule(() => {
      this.scheduled = false;
      if (this.view === this.next) return;
      this.view = this.next;
      for (const watcher of [...this.watchers]) watcher();
    });
  }

  private keep(before: FeedView): void {
    const { outbox: entries, parked } = this.next;
    if (entries === before.outbox && parked === before.parked) return;
    this.kept?.put(this.id, entries.length + parked.length > 0 ? { outbox: entries, parked } : null);
  }
}
