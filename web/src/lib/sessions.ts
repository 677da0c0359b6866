/**
 * The list of sessions: what the runner says is alive (mux) and what history keeps (REST), as one.
 * The runner's list is the truth; history adds titles and the sessions that sleep.
 */
import { queryOptions } from "@tanstack/react-query";
import { request } from "./api";
import { randomId } from "./id";
import type { Mux } from "./mux";
import type { ChatSession, ListedSession, Model, SessionStatus } from "./wire";

export type SessionDot = "idle" | "working" | "input" | "error";

export interface SessionSummary {
  id: string;
  title: string;
  cwd: string;
  dot: SessionDot;
  lastActivity: number;
  model?: string;
  provider?: string;
  harness?: string;
}

export const SESSION_LIST_KEY = ["sessions"];
/** How often the list is asked for while the page is looked at. */
export const LIST_INTERVAL_MS = 2_000;
const HISTORY_LIMIT = 500;

/** What history keeps changes slowly; what lives is asked for often. */
export const historyQuery = queryOptions({
  queryKey: ["history"],
  queryFn: async () => {
    const chats = await request<ChatSession[]>("GET", `/chat-history?limit=${HISTORY_LIMIT}`);
    return chats.filter((chat) => !chat.is_child);
  },
  staleTime: 60_000,
  retry: false,
});

export function sessionsQuery(mux: Mux) {
  return queryOptions({
    queryKey: SESSION_LIST_KEY,
    queryFn: async ({ client }): Promise<SessionSummary[]> => {
      const [live, history] = await Promise.all([
        mux.command<{ sessions: ListedSession[] }>("_system", "list_sessions"),
        client.fetchQuery(historyQuery).catch(() => []),
      ]);
      return merge(live.sessions, history, Date.now());
    },
    refetchInterval: LIST_INTERVAL_MS,
    retry: false,
  });
}

export function modelsQuery(mux: Mux, workdir?: string) {
  return queryOptions({
    queryKey: ["models", workdir ?? ""],
    queryFn: () => mux.command<Model[]>("_system", "get_models", workdir ? { workdir } : {}),
    staleTime: 60_000,
    retry: false,
  });
}

export function merge(live: ListedSession[], history: ChatSession[], now: number): SessionSummary[] {
  const past = new Map(history.map((chat) => [chat.id, chat]));
  const sessions = live.map((session): SessionSummary => {
    const chat = past.get(session.session_id) ?? past.get(session.hstry_id ?? "");
    if (chat) past.delete(chat.id);
    return {
      id: session.session_id,
      title: session.title || chat?.title || "",
      cwd: session.cwd || chat?.workspace_path || "",
      dot: DOTS[session.state] ?? "idle",
      lastActivity: instant(session.last_activity, now),
      model: session.model ?? chat?.model ?? undefined,
      provider: session.provider ?? chat?.provider ?? undefined,
      harness: session.harness,
    };
  });
  for (const chat of past.values()) {
    sessions.push({
      id: chat.id,
      title: chat.title ?? "",
      cwd: chat.workspace_path ?? "",
      dot: "idle",
      lastActivity: chat.updated_at,
      model: chat.model ?? undefined,
      provider: chat.provider ?? undefined,
    });
  }
  return sessions.sort((a, b) => b.lastActivity - a.lastActivity);
}

/** Existing servers give the age in milliseconds, ours the time itself. */
function instant(value: number, now: number): number {
  return value > 1e11 ? value : now - value;
}

const DOTS: Record<SessionStatus, SessionDot> = {
  starting: "working",
  idle: "idle",
  working: "working",
  needs_input: "input",
  error: "error",
  closed: "idle",
  unreachable: "error",
};

export interface FolderGroup {
  cwd: string;
  sessions: SessionSummary[];
}

/** Sessions by folder; the folder that was used last comes first. */
export function groupByFolder(sessions: SessionSummary[], filter: string): FolderGroup[] {
  const wanted = filter.trim().toLowerCase();
  const groups = new Map<string, SessionSummary[]>();
  for (const session of sessions) {
    if (wanted && !`${session.title} ${session.cwd}`.toLowerCase().includes(wanted)) continue;
    const group = groups.get(session.cwd);
    if (group) group.push(session);
    else groups.set(session.cwd, [session]);
  }
  return [...groups].map(([cwd, members]) => ({ cwd, sessions: members }));
}

export function recentFolders(sessions: SessionSummary[], limit = 6): string[] {
  return [...new Set(sessions.map((session) => session.cwd).filter(Boolean))].slice(0, limit);
}

/** An id of our choosing, in the alphabet the protocol allows. */
export function newSessionId(): string {
  return `ses_${randomId().slice(0, 20)}`;
}
