/** Starting anew from `messages`, and from the state that an attach answers with. Pure. */
import type { AgentEvent, AgentState, Envelope } from "../wire";
import { emptySession, type SessionState } from "./state";
import { toolsFromMessages } from "./tools";

type Snapshot = Envelope & Extract<AgentEvent, { event: "messages" }>;

/** Replaces everything by the snapshot; what follows it counts from `as_of + 1`. */
export function fromSnapshot(before: SessionState, snapshot: Snapshot): SessionState {
  const messages = snapshot.messages.slice().sort((a, b) => a.idx - b.idx);
  const state: SessionState = {
    ...emptySession(),
    sync: "live",
    cursor: { epoch: snapshot.epoch ?? "", seq: snapshot.as_of },
    items: messages.map((message) => ({ kind: "message", id: message.id, message })),
    tools: toolsFromMessages({}, messages),
    hasMore: snapshot.has_more,
    title: before.title,
    total: before.total,
    model: before.model,
    thinkingLevel: before.thinkingLevel,
    unreachable: before.unreachable,
  };
  return withAgentState(state, snapshot.state);
}

/** Takes over what the agent says of itself. */
export function withAgentState(state: SessionState, agent: AgentState | undefined): SessionState {
  if (!agent) return state;
  const working = agent.isStreaming || agent.isCompacting;
  return {
    ...withSettings(state, agent),
    activity: working ? "working" : state.activity === "working" ? "idle" : state.activity,
    phase: agent.isCompacting ? "compacting" : working ? (state.phase ?? "generating") : state.phase,
    requests: agent.pendingInput ?? state.requests,
  };
}

/** Takes over only what is set, not what is going on. */
export function withSettings(state: SessionState, agent: AgentState | undefined): SessionState {
  if (!agent) return state;
  return {
    ...state,
    model: agent.model ? { provider: agent.model.provider, id: agent.model.id } : state.model,
    thinkingLevel: agent.thinkingLevel ?? state.thinkingLevel,
    title: agent.sessionName ?? state.title,
  };
}
