/** Starting anew from `messages`, and from the state that an attach answers with. Pure. */
import type { AgentState, EventOf } from "../wire";
import { emptySession, type SessionState } from "./state";
import { runningTools, toolsFromMessages } from "./tools";

/** Replaces everything by the snapshot; what follows it counts from `as_of + 1`. */
export function fromSnapshot(before: SessionState, snapshot: EventOf<"messages">): SessionState {
  const messages = snapshot.messages.slice().sort((a, b) => a.idx - b.idx);
  const state: SessionState = {
    ...emptySession(),
    sync: "live",
    cursor: { epoch: snapshot.epoch ?? "", seq: snapshot.as_of },
    items: messages.map((message) => ({ kind: "message", id: message.id, message })),
    tools: toolsFromMessages({}, messages),
    hasMore: snapshot.has_more,
    removed: snapshot.removed ?? null,
    title: before.title,
    cwd: before.cwd,
    total: before.total,
    model: before.model,
    thinkingLevel: before.thinkingLevel,
    permissions: before.permissions,
    unreachable: before.unreachable,
  };
  return withAgentState(state, snapshot.state);
}

/** Takes over what the agent says of itself. Servers before octo say less, or nothing. */
function withAgentState(state: SessionState, agent: Partial<AgentState> | undefined): SessionState {
  if (!agent) return state;
  const working = agent.isStreaming || agent.isCompacting || agent.status === "working";
  const phase = agent.isCompacting ? "compacting" : "generating";
  const waiting = agent.queued ?? [];
  return {
    ...runningTools(withSettings(state, agent), agent.runningTools ?? []),
    activity: working ? "working" : agent.status === "error" ? "error" : "idle",
    phase: working ? phase : null,
    requests: agent.pendingInput ?? [],
    steering: waiting.filter((input) => input.kind === "steer"),
    followUp: waiting.filter((input) => input.kind === "follow_up"),
    accepted: waiting.flatMap((input) =>
      input.kind === "prompt" && input.client_id
        ? [{ clientId: input.client_id, kind: input.kind, message: input.message, images: [] }]
        : [],
    ),
  };
}

/** Takes over only what is set, not what is going on. */
export function withSettings(state: SessionState, agent: Partial<AgentState> | undefined): SessionState {
  if (!agent) return state;
  return {
    ...state,
    cwd: agent.cwd ?? state.cwd,
    model: agent.model ? { provider: agent.model.provider, id: agent.model.id } : state.model,
    thinkingLevel: agent.thinkingLevel ?? state.thinkingLevel,
    permissions: agent.permissions ?? state.permissions,
    title: agent.sessionName ?? state.title,
  };
}
