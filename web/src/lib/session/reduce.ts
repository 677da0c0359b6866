/**
 * The projection of a session: `(state, event) -> state`. Pure; owns no clock, socket or timer.
 *
 * Promise: however the stream is cut and resumed, the state after the last event is the same as if
 * it had never been cut, because each journalled event is applied exactly once and in order.
 */
import { sentence } from "../sentence";
import type { QueuedInput, SessionEvent } from "../wire";
import { advance, heartbeat, judge } from "./cursor";
import { applyDelta } from "./live";
import { discardMessage, finishMessage, startMessage } from "./messages";
import { interrupted, notice } from "./notices";
import { fromSnapshot } from "./snapshot";
import type { SessionState } from "./state";
import { decideTool, endTool, progressTool, startTool } from "./tools";

export function reduce(state: SessionState, event: SessionEvent): SessionState {
  switch (event.event) {
    case "messages":
      return fromSnapshot(state, event);
    case "stream.resync_required":
      return { ...state, sync: "snapshot" };
    case "replay.start": {
      if (state.cursor === null || state.sync === "snapshot") return state;
      return { ...state, sync: event.after > state.cursor.seq ? "gap" : "replay" };
    }
    case "replay.end": {
      if (state.cursor === null || state.sync !== "replay") return state;
      const seq = Math.max(state.cursor.seq, event.seq ?? 0);
      return { ...state, sync: "live", cursor: { ...state.cursor, seq } };
    }
  }
  if (event.event === "session.heartbeat") return heartbeat(state, event.epoch, event.head);
  const verdict = judge(state, event);
  if (verdict === "ignore") return state;
  if (verdict === "gap") return state.sync === "gap" ? state : { ...state, sync: "gap" };
  return advance(apply(state, event), event);
}

function apply(state: SessionState, event: SessionEvent): SessionState {
  switch (event.event) {
    case "stream.message_start":
      return startMessage(state, event.message_id, event.role, event.ts);
    case "stream.text_delta":
    case "stream.thinking_delta":
    case "stream.tool_call_start":
    case "stream.tool_call_delta":
    case "stream.tool_call_end": {
      const started = startMessage(state, event.message_id, "assistant", event.ts);
      const live = started.live[event.message_id];
      if (!live) return started;
      return { ...started, live: { ...started.live, [event.message_id]: applyDelta(live, event) } };
    }
    case "stream.message_end":
      return finishMessage(state, event.message);
    case "stream.message_discarded":
      return interrupted(discardMessage(state, event.message_id), event);
    case "tool.start":
      return startTool(state, event, event.ts);
    case "tool.progress":
      return progressTool(state, event);
    case "tool.end":
      return endTool(state, event);
    case "agent.working":
      return {
        ...state,
        activity: "working",
        phase: event.phase,
        detail: event.detail ?? null,
        error: null,
      };
    case "agent.idle":
      return { ...state, activity: "idle", phase: null, detail: null, error: null, status: {} };
    case "agent.error":
      return {
        ...notice(state, event, "error", sentence(event.error)),
        activity: "error",
        phase: null,
        detail: null,
        error: sentence(event.error),
      };
    case "agent.input_needed":
      return {
        ...state,
        requests: [...state.requests.filter((r) => r.request_id !== event.request.request_id), event.request],
      };
    case "agent.input_resolved":
      return { ...state, requests: state.requests.filter((r) => r.request_id !== event.request_id) };
    case "permission.decided": {
      const decided = decideTool(state, event);
      if (event.allowed || event.by === "user") return decided;
      return notice(decided, event, "denied", [event.tool, event.subject].filter(Boolean).join(": "));
    }
    case "config.permissions_changed":
      return { ...state, permissions: event.mode };
    case "input.accepted": {
      if (event.client_id === undefined) return state;
      const others = state.accepted.filter((a) => a.clientId !== event.client_id);
      const accepted = {
        clientId: event.client_id,
        kind: event.kind,
        message: event.message,
        images: event.images ?? [],
      };
      return { ...state, accepted: [...others, accepted] };
    }
    case "queue.changed":
      return requeue(state, event.steering, event.follow_up);
    case "session.title_changed":
      return { ...state, title: event.title };
    case "session.restarted":
      return notice(state, event, "restarted", sentence(event.reason));
    case "session.closed":
      return { ...state, activity: "idle", phase: null, detail: null };
    case "session.unreachable":
      return { ...state, unreachable: event.reason };
    case "session.reachable":
      return { ...state, unreachable: null };
    case "retry.start":
      return notice(
        state,
        event,
        "retry",
        `${event.attempt}/${event.max_attempts} · ${sentence(event.error)}`,
      );
    case "retry.end":
      return event.success ? state : notice(state, event, "retry_failed", sentence(event.final_error ?? ""));
    case "compact.end":
      return event.success
        ? notice(state, event, "compacted", event.summary ?? "")
        : notice(state, event, "compact_failed", event.error ?? "");
    case "config.model_changed":
      return { ...state, model: { provider: event.provider, id: event.model_id } };
    case "config.thinking_level_changed":
      return { ...state, thinkingLevel: event.level };
    case "notify":
      return notice(state, event, event.level, event.message);
    case "status": {
      const status = { ...state.status };
      if (event.text) status[event.key] = event.text;
      else delete status[event.key];
      return { ...state, status };
    }
    case "usage":
      return { ...state, total: event.session_total };
    default:
      // Unknown events are for newer clients; their sequence number still counts.
      return state;
  }
}

/** Input that leaves the queue was handed over (its message follows) or parked: it waits no longer. */
function requeue(state: SessionState, steering: QueuedInput[], followUp: QueuedInput[]): SessionState {
  const now = new Set([...steering, ...followUp].map((entry) => entry.client_id));
  const left = new Set(
    [...state.steering, ...state.followUp].map((entry) => entry.client_id).filter((id) => id && !now.has(id)),
  );
  const accepted = left.size > 0 ? state.accepted.filter((a) => !left.has(a.clientId)) : state.accepted;
  return { ...state, steering, followUp, accepted };
}
