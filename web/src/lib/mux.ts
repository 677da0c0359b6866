/**
 * The one WebSocket to octo. Owns the socket, the greeting, keep-alive, reconnecting and the matching
 * of responses to commands. It never looks into a session's events and never repeats a command.
 */
import { backoff } from "./backoff";
import { MuxError } from "./mux-error";
import type { ClientSystem, Response, SessionEvent } from "./wire";

/** The part of a WebSocket that is used, so that tests can stand in for it. */
export interface Socket {
  send(text: string): void;
  close(code?: number): void;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
}

export type MuxStatus = "stopped" | "connecting" | "open" | "waiting" | "ended";

export interface MuxOptions {
  open: () => Socket;
  random?: () => number;
  /** Called when a socket closed before the greeting: perhaps the login has ended. */
  onRefused?: () => void;
}

export interface CommandOptions {
  timeoutMs?: number;
}

/** A peer that says nothing for this long is taken for dead (the server pings every 30 s). */
export const SILENCE_MS = 75_000;
export const COMMAND_TIMEOUT_MS = 30_000;
/** How long a probe after sleep may take before the socket is given up. */
export const PROBE_MS = 5_000;
export const MAX_PENDING = 256;

const CLOSE_NORMAL = 1000;
const CLOSE_RESTART = 1012;

interface Pending {
  resolve: (data: unknown) => void;
  reject: (error: MuxError) => void;
  timer: ReturnType<typeof setTimeout>;
}

export class Mux {
  status: MuxStatus = "stopped";
  private readonly options: MuxOptions;
  private socket: Socket | null = null;
  private attempt = 0;
  private nextId = 1;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private silenceTimer: ReturnType<typeof setTimeout> | undefined;
  private probeTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly pending = new Map<string, Pending>();
  private readonly sessions = new Map<string, Set<(event: SessionEvent) => void>>();
  private readonly watchers = new Set<(status: MuxStatus) => void>();
  private readonly systemWatchers = new Set<(frame: Record<string, unknown>) => void>();

  constructor(options: MuxOptions) {
    this.options = options;
  }

  start(): void {
    if (this.status === "stopped" || this.status === "ended") this.connect();
  }

  /** Closes for good, for instance at log out. */
  stop(): void {
    clearTimeout(this.retryTimer);
    const socket = this.socket;
    this.drop("stopped");
    socket?.close(CLOSE_NORMAL);
  }

  /** The network or the person is back: try now, or find out whether the socket still lives. */
  nudge(): void {
    if (this.status === "waiting") {
      this.attempt = 0;
      this.connect();
    } else if (this.status === "open" && this.probeTimer === undefined) {
      this.transmit({ channel: "system", type: "ping" });
      this.probeTimer = setTimeout(() => this.lost(), PROBE_MS);
    }
  }

  onStatus(watcher: (status: MuxStatus) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** What the server says to the whole connection (`system` channel). */
  onSystem(watcher: (frame: Record<string, unknown>) => void): () => void {
    this.systemWatchers.add(watcher);
    return () => this.systemWatchers.delete(watcher);
  }

  /** Says something on the `system` channel, if there is a connection. What comes of it is for `onSystem`. */
  tellSystem(frame: ClientSystem): void {
    if (this.status === "open") this.transmit({ channel: "system", ...frame });
  }

  onSession(sessionId: string, listener: (event: SessionEvent) => void): () => void {
    const listeners = this.sessions.get(sessionId) ?? new Set();
    listeners.add(listener);
    this.sessions.set(sessionId, listeners);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.sessions.get(sessionId) === listeners) this.sessions.delete(sessionId);
    };
  }

  /** Sends a command and gives the `data` of its one response, or a `MuxError`. */
  command<T = unknown>(
    sessionId: string,
    cmd: string,
    payload: Record<string, unknown> = {},
    { timeoutMs = COMMAND_TIMEOUT_MS }: CommandOptions = {},
  ): Promise<T> {
    if (this.status !== "open") {
      return Promise.reject(new MuxError("disconnected", "not connected to octo"));
    }
    if (this.pending.size >= MAX_PENDING) {
      return Promise.reject(new MuxError("busy", "too many requests are waiting for an answer"));
    }
    const id = `w${this.nextId++}`;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(new MuxError("unanswered", `octo did not answer ${cmd} in time`));
      }, timeoutMs);
      this.pending.set(id, { resolve: resolve as (data: unknown) => void, reject, timer });
      this.transmit({ channel: "agent", id, session_id: sessionId, cmd, ...payload });
    });
  }

  private connect(): void {
    clearTimeout(this.retryTimer);
    this.setStatus("connecting");
    const socket = this.options.open();
    this.socket = socket;
    socket.onmessage = (event) => {
      if (this.socket === socket && typeof event.data === "string") this.receive(event.data);
    };
    socket.onclose = (event) => {
      if (this.socket === socket) this.closed(event.code);
    };
    this.watchSilence();
  }

  private receive(text: string): void {
    this.watchSilence();
    clearTimeout(this.probeTimer);
    this.probeTimer = undefined;
    let frame: Record<string, unknown>;
    try {
      frame = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return; // Not ours to judge; the next frame may be fine.
    }
    if (frame === null || typeof frame !== "object") return;
    if (frame.channel === "agent") this.agent(frame);
    else if (frame.channel === "system") this.system(frame);
    else if (frame.channel === "session" && frame.type === "ping") {
      this.transmit({ channel: "session", type: "pong" });
    }
  }

  private agent(frame: Record<string, unknown>): void {
    if (frame.event === "response") {
      this.respond(frame as unknown as Response);
      return;
    }
    if (typeof frame.session_id !== "string" || typeof frame.event !== "string") return;
    const listeners = this.sessions.get(frame.session_id);
    if (listeners) for (const listener of [...listeners]) listener(frame as unknown as SessionEvent);
  }

  private respond(response: Response): void {
    const pending = this.pending.get(response.id);
    if (!pending) return;
    this.pending.delete(response.id);
    clearTimeout(pending.timer);
    if (response.success) pending.resolve(response.data ?? null);
    else pending.reject(new MuxError(response.code ?? "internal", response.error ?? "the command failed"));
  }

  private system(frame: Record<string, unknown>): void {
    if (frame.type === "connected") {
      this.attempt = 0;
      this.setStatus("open");
    } else if (frame.type === "error" && typeof frame.id === "string") {
      const pending = this.pending.get(frame.id);
      if (pending) {
        this.pending.delete(frame.id);
        clearTimeout(pending.timer);
        pending.reject(new MuxError("invalid_request", String(frame.error ?? "invalid command")));
      }
    }
    for (const watcher of [...this.systemWatchers]) watcher(frame);
  }

  private transmit(frame: Record<string, unknown>): void {
    this.socket?.send(JSON.stringify(frame));
  }

  private watchSilence(): void {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.lost(), SILENCE_MS);
  }

  /** The peer is silent: give the socket up without waiting for the network to agree. */
  private lost(): void {
    const socket = this.socket;
    this.closed(1006);
    socket?.close();
  }

  private closed(code: number): void {
    const refused = this.status === "connecting";
    if (code === CLOSE_NORMAL) {
      this.drop("ended");
      this.options.onRefused?.();
      return;
    }
    this.drop("waiting");
    if (refused) this.options.onRefused?.();
    // A restarting server says so, and is back soon.
    const wait =
      code === CLOSE_RESTART ? backoff(0, this.options.random) : backoff(this.attempt, this.options.random);
    this.attempt += 1;
    if (this.status === "waiting") this.retryTimer = setTimeout(() => this.connect(), wait);
  }

  private drop(status: MuxStatus): void {
    clearTimeout(this.silenceTimer);
    clearTimeout(this.probeTimer);
    this.probeTimer = undefined;
    if (this.socket) {
      this.socket.onmessage = null;
      this.socket.onclose = null;
    }
    this.socket = null;
    const pending = [...this.pending.values()];
    this.pending.clear();
    for (const { reject, timer } of pending) {
      clearTimeout(timer);
      reject(new MuxError("disconnected", "the connection to octo was lost"));
    }
    this.setStatus(status);
  }

  private setStatus(status: MuxStatus): void {
    if (this.status === status) return;
    this.status = status;
    for (const watcher of [...this.watchers]) watcher(status);
  }
}
