/**
 * The wire types the application uses. One place, so that the rest of the code does not care
 * where a type is generated.
 */

export interface Cursor {
  epoch: string;
  seq: number;
}

export type Role = "user" | "assistant" | "system" | "tool";

export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens?: number;
  cache_write_tokens?: number;
  cost_usd?: number;
}

export type MediaSource =
  | { source: "url"; url: string; mimeType?: string }
  | { source: "attachmentRef"; attachmentId: string; mimeType?: string }
  | { source: "base64"; data: string; mimeType: string };

export type ToolStatus = "pending" | "running" | "success" | "error";

export type Part =
  | { type: "text"; id: string; text: string; format?: string }
  | { type: "thinking"; id: string; text: string }
  | { type: "tool_call"; id: string; toolCallId: string; name: string; input?: unknown; status?: ToolStatus }
  | { type: "tool_result"; id: string; toolCallId: string; name?: string; output?: unknown; isError: boolean; durationMs?: number }
  | ({ type: "image"; id: string; alt?: string } & MediaSource)
  | { type: "file_ref"; id: string; uri: string; label?: string }
  | { type: "unknown"; id: string };

export interface Message {
  id: string;
  idx: number;
  role: Role;
  client_id?: string;
  parts: Part[];
  created_at: number;
  model?: string;
  provider?: string;
  stop_reason?: string;
  usage?: Usage;
  tool_call_id?: string;
  tool_name?: string;
  is_error?: boolean;
}

export interface ImageInput {
  data: string;
  media_type: string;
}

export type InputKind = "prompt" | "steer" | "follow_up";

export interface QueuedInput {
  kind: InputKind;
  message: string;
  client_id?: string;
}

export interface PermissionOption {
  option_id: string;
  label: string;
  kind: "allow_once" | "allow_always" | "deny_once" | "deny_always";
}

export type InputRequest =
  | { type: "select"; request_id: string; title: string; options: string[]; timeout?: number }
  | { type: "confirm"; request_id: string; title: string; message: string; timeout?: number }
  | { type: "input"; request_id: string; title: string; placeholder?: string; timeout?: number }
  | { type: "editor"; request_id: string; title: string; prefill?: string }
  | {
      type: "permission";
      request_id: string;
      title: string;
      description?: string;
      metadata?: unknown;
      options?: PermissionOption[];
    };

export interface AgentState {
  model?: { id: string; provider: string; name?: string } | null;
  thinkingLevel?: string;
  isStreaming?: boolean;
  isCompacting?: boolean;
  pendingInput?: InputRequest[];
  sessionName?: string;
}

export type AgentEvent =
  | { event: "session.created"; resumed?: boolean; harness?: string }
  | { event: "session.closed"; reason?: string }
  | { event: "session.restarted"; attempt: number; reason: string }
  | { event: "session.unreachable"; reason: string }
  | { event: "session.reachable" }
  | { event: "session.heartbeat"; process?: unknown }
  | { event: "input.accepted"; kind: InputKind; client_id?: string; message: string; images?: ImageInput[] }
  | { event: "queue.changed"; steering: QueueEntry[]; follow_up: QueueEntry[] }
  | { event: "session.title_changed"; title: string; readable_id?: string }
  | { event: "agent.idle" }
  | { event: "agent.working"; phase: string; detail?: string }
  | { event: "agent.error"; error: string; recoverable?: boolean; code?: string }
  | { event: "agent.input_needed"; request: InputRequest }
  | { event: "agent.input_resolved"; request_id: string; by?: string }
  | { event: "stream.message_start"; message_id: string; role: Role }
  | { event: "stream.text_delta"; message_id: string; delta: string; content_index: number }
  | { event: "stream.thinking_delta"; message_id: string; delta: string; content_index: number }
  | {
      event: "stream.tool_call_start";
      message_id: string;
      tool_call_id: string;
      name: string;
      content_index: number;
    }
  | {
      event: "stream.tool_call_delta";
      message_id: string;
      tool_call_id: string;
      delta: string;
      content_index: number;
    }
  | {
      event: "stream.tool_call_end";
      message_id: string;
      tool_call_id: string;
      tool_call: { id: string; name: string; input: unknown };
      content_index: number;
    }
  | { event: "stream.message_end"; message: Message }
  | { event: "stream.message_discarded"; message_id: string; reason: string }
  | { event: "stream.done"; reason: string }
  | { event: "stream.resync_required"; reason: string; dropped_count?: number }
  | { event: "tool.start"; tool_call_id: string; name: string; input?: unknown }
  | { event: "tool.progress"; tool_call_id: string; name: string; partial_output: unknown }
  | {
      event: "tool.end";
      tool_call_id: string;
      name: string;
      output: unknown;
      is_error: boolean;
      duration_ms?: number;
    }
  | { event: "retry.start"; attempt: number; max_attempts: number; delay_ms: number; error: string }
  | { event: "retry.end"; success: boolean; attempt: number; final_error?: string }
  | { event: "compact.start"; reason: string }
  | { event: "compact.end"; success: boolean; error?: string; summary?: string; tokens_before?: number }
  | { event: "config.model_changed"; provider: string; model_id: string }
  | { event: "config.thinking_level_changed"; level: string }
  | { event: "notify"; level: "info" | "warning" | "error"; message: string }
  | { event: "status"; key: string; text?: string }
  | { event: "usage"; usage: Usage; session_total: Usage }
  | { event: "messages"; messages: Message[]; as_of: number; has_more: boolean; state?: AgentState }
  | { event: "replay.start"; after: number }
  | { event: "replay.end"; seq: number; count: number }
  | { event: "persisted"; message_count: number };

export type QueueEntry = string | { message: string; client_id?: string };

/** What stands around every event of a session. Without `seq` an event is not part of the journal. */
export interface Envelope {
  session_id: string;
  runner_id?: string;
  ts: number;
  seq?: number;
  epoch?: string;
  turn_id?: string;
}

export type SessionEvent = Envelope & AgentEvent;

export interface Response {
  channel: "agent";
  session_id: string;
  event: "response";
  id: string;
  cmd: string;
  success: boolean;
  data?: unknown;
  error?: string;
  code?: string;
}

export interface ModelInfo {
  id: string;
  name: string;
  provider: string;
  reasoning?: boolean;
  input?: string[];
  contextWindow?: number;
}

export interface AttachData {
  session_id: string;
  epoch?: string;
  seq?: number;
  harness?: string;
  capabilities?: string[];
  state?: AgentState;
  resumed?: boolean;
}
