/** A scripted tree of actors: most work, some are in trouble, and now and then one is restarted. */
import type { ActorRow, ActorsFrame, Inspection } from "../src/lib/wire.ts";

const EVERY_MS = 1000;

export class FakeActors {
  readonly rows = new Map<string, ActorRow>();
  private looks = 0;

  constructor() {
    const put = (path: string, kind: string, more: Partial<ActorRow> = {}) =>
      this.rows.set(path, {
        path,
        kind,
        state: "running",
        restarts: 0,
        mailbox: 0,
        processed: 1,
        started_at: Date.now() - 4_000_000,
        mailbox_limit: 256,
        ...more,
      });
    put("/services", "services");
    put("/services/eavs", "service", { restarts: 1, last_error: "the connection to octo-eavs was closed" });
    put("/users", "users");
    for (const user of ["ada", "grace", "linus"]) {
      put(`/users/${user}`, "user");
      put(`/users/${user}/runner`, "runner", { mailbox_limit: 16 });
      put(`/users/${user}/connections/3`, "connection", { mailbox_limit: 32 });
      for (const part of ["history", "idle", "link", "retention", "sessions"]) {
        put(`/users/${user}/runner/${part}`, part);
      }
      for (let n = 1; n <= 4; n += 1) {
        put(`/users/${user}/sessions/ses_${n}`, "session", { mailbox_limit: 16 });
        put(`/users/${user}/runner/sessions/ses_${n}`, "session", {
          mailbox_limit: 1024,
          processed: n * 400,
        });
        put(`/users/${user}/runner/sessions/ses_${n}/agent`, "agent", { processed: n * 90 });
      }
    }
    put("/users/grace/runner/sessions/ses_2/agent", "agent", {
      state: "degraded",
      restarts: 3,
      last_error:
        "the agent ended by signal 9 (killed) after 12 ms; its last words: FATAL ERROR: heap out of memory",
    });
    put("/users/linus/runner/history", "history", {
      state: "stuck",
      mailbox: 231,
      busy_ms: 48_000,
      busy_with: "query",
    });
    put("/users/ada/runner/sessions/ses_3", "session", {
      mailbox: 870,
      mailbox_limit: 1024,
      processed: 99_000,
    });
  }

  watch(say: (frame: ActorsFrame) => void): () => void {
    say({
      type: "actors",
      rows: [...this.rows.values()],
      gone: [],
      at: Date.now(),
      first: true,
      left_out: [],
    });
    const timer = setInterval(() => say(this.look()), EVERY_MS);
    return () => clearInterval(timer);
  }

  restart(path: string): void {
    const row = this.rows.get(path);
    if (row)
      this.rows.set(path, { ...row, state: "running", restarts: row.restarts + 1, started_at: Date.now() });
  }

  inspect(path: string): Inspection | null {
    const row = this.rows.get(path);
    if (!row) return null;
    const snapshot = {
      status: "working",
      agent: "ready",
      pid: 4711,
      turn: "t_9",
      head: 1203,
      queued: [],
      ring: { frames: 211, bytes: 90_112, from: 993 },
      stalled: false,
    };
    return { row, snapshot, age_ms: 180, may_restart: true };
  }

  private look(): ActorsFrame {
    this.looks += 1;
    const rows: ActorRow[] = [];
    for (const row of this.rows.values()) {
      if (row.kind !== "session" && row.kind !== "agent") continue;
      if (row.state !== "running" || (row.path.length + this.looks) % 3 !== 0) continue;
      rows.push({ ...row, processed: row.processed + ((row.path.length * this.looks) % 90) });
    }
    if (this.looks % 7 === 3) {
      const path = "/users/ada/runner/sessions/ses_1/agent";
      this.restart(path);
      rows.push({ ...(this.rows.get(path) as ActorRow), last_error: "the agent ended by signal 9 (killed)" });
    }
    for (const row of rows) this.rows.set(row.path, row);
    return { type: "actors", rows, gone: [], at: Date.now() };
  }
}
