/** Rows and frames of a tree of actors, for tests. */
import type { ActorRow, ActorsFrame } from "../src/lib/wire";

export const NOW = 1_800_000_000_000;

export function row(path: string, more: Partial<ActorRow> = {}): ActorRow {
  return {
    path,
    kind: "session",
    state: "running",
    restarts: 0,
    mailbox: 0,
    processed: 10,
    started_at: NOW - 600_000,
    mailbox_limit: 256,
    ...more,
  };
}

export function frame(at: number, rows: ActorRow[], more: Partial<ActorsFrame> = {}): ActorsFrame {
  return { type: "actors", rows, gone: [], at, ...more };
}

/** A tree of about as many actors as wanted: sessions with an agent each, below a few users. */
export function forest(actors: number): ActorRow[] {
  const rows = [row("/services", { kind: "services" }), row("/users", { kind: "users" })];
  for (let user = 0; rows.length < actors; user += 1) {
    const top = `/users/user${user}`;
    rows.push(row(top, { kind: "user" }), row(`${top}/runner`, { kind: "runner", mailbox_limit: 16 }));
    for (let n = 0; n < 100 && rows.length < actors; n += 1) {
      const session = `${top}/runner/sessions/ses_${n}`;
      rows.push(row(session, { mailbox_limit: 1024 }), row(`${session}/agent`, { kind: "agent" }));
    }
  }
  return rows.slice(0, actors);
}
