/**
 * What a client knows of one session. A projection: it can be rebuilt from an attach at any time,
 * and it changes only through `reduce`.
 */
import type { Phase } from "@/protocol/Phase";
import type {
  Cursor,
  DecidedBy,
  ImageInput,
  InputKind,
  InputRequest,
  Message,
  PermissionMode,
  QueuedInput,
  Removed,
  Role,
  ThinkingLevel,
  Usage,
} from "../wire";

/** A message of which only deltas have arrived so far. Parts are keyed by their content index. */
export interface LiveMessage {
  id: string;
  role: Role;
  startedAt: number;
  parts: LivePart[];
}

export type LivePart =
  | { type: "text"; index: number; text: string }
  | { type: "thinking"; index: number; text: string }
  | { type: "tool_call"; index: number; toolCallId: string; name: string; json: string; input?: unknown };

/** What an agent does while it works. */
export type { Phase };

export type ToolPhase = "running" | "success" | "error";

export interface ToolRun {
  id: string;
  name: string;
  phase: ToolPhase;
  input?: unknown;
  /** The latest output: accumulated while the tool runs, final afterwards. */
  output?: unknown;
  startedAt?: number;
  durationMs?: number;
  /** Who let it run, or did not, when that was not plain: a rule, a person, the clock. */
  decided?: Decided;
}

export interface Decided {
  allowed: boolean;
  by: DecidedBy;
}

export type NoticeKind =
  | "info"
  | "warning"
  | "error"
  | "retry"
  | "retry_failed"
  | "compacted"
  | "compact_failed"
  | "restarted"
  | "interrupted"
  | "denied"
  | "closed";

export type Item =
  | { kind: "message"; id: string; message: Message }
  | { kind: "live"; id: string }
  | { kind: "notice"; id: string; notice: NoticeKind; text: string; ts: number };

export interface Accepted {
  clientId: string;
  kind: InputKind;
  message: string;
  images: ImageInput[];
}

export type Activity = "idle" | "working" | "error";

/** Where the stream of journalled events stands, and whether it may be trusted. */
export type Sync =
  /** Waiting for `messages`: nothing with a sequence number counts until it is there. */
  | "snapshot"
  /** Contiguous. */
  | "live"
  /** Inside `replay.start` … `replay.end`: sequence numbers may jump. */
  | "replay"
  /** A jump outside a replay: something was lost, attach again with the cursor. */
  | "gap";

export interface SessionState {
  sync: Sync;
  cursor: Cursor | null;
  /** The journal's head as the last heartbeat gave it: by the next one we must have come so far. */
  head: number;
  items: Item[];
  live: Record<string, LiveMessage>;
  tools: Record<string, ToolRun>;
  hasMore: boolean;
  /** What the conversation does not hold any more. */
  removed: Removed | null;
  activity: Activity;
  phase: Phase | null;
  detail: string | null;
  error: string | null;
  requests: InputRequest[];
  accepted: Accepted[];
  steering: QueuedInput[];
  followUp: QueuedInput[];
  model: { provider: string; id: string } | null;
  thinkingLevel: ThinkingLevel | null;
  /** The session's own word for tool calls. */
  permissions: PermissionMode | null;
  title: string | null;
  cwd: string | null;
  total: Usage | null;
  unreachable: string | null;
  status: Record<string, string>;
}

/** Quiet rows are kept for the eye only; the oldest go first. */
export const MAX_NOTICES = 200;

export function emptySession(): SessionState {
  return {
    sync: "snapshot",
    cursor: null,
    head: 0,
    items: [],
    live: {},
    tools: {},
    hasMore: false,
    removed: null,
    activity: "idle",
    phase: null,
    detail: null,
    error: null,
    requests: [],
    accepted: [],
    steering: [],
    followUp: [],
    model: null,
    thinkingLevel: null,
    permissions: null,
    title: null,
    cwd: null,
    total: null,
    unreachable: null,
    status: {},
  };
}
