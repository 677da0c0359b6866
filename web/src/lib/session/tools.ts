/** The runs of tools, kept beside the messages because they outlive the message that asked for them. Pure. */
import type { AgentState, EventOf, Message } from "../wire";
import { isPart } from "./parts";
import type { SessionState, ToolRun } from "./state";

export function startTool(state: SessionState, event: EventOf<"tool.start">, ts: number): SessionState {
  const known = state.tools[event.tool_call_id];
  return put(state, {
    ...known,
    id: event.tool_call_id,
    name: event.name,
    phase: "running",
    input: event.input ?? known?.input,
    startedAt: ts,
  });
}

export function progressTool(state: SessionState, event: EventOf<"tool.progress">): SessionState {
  const known = state.tools[event.tool_call_id];
  // Progress carries no sequence number, so it may arrive after the end: the end wins.
  if (known && known.phase !== "running") return state;
  return put(state, {
    ...known,
    id: event.tool_call_id,
    name: event.name,
    phase: "running",
    output: event.partial_output,
  });
}

export function endTool(state: SessionState, event: EventOf<"tool.end">): SessionState {
  const known = state.tools[event.tool_call_id];
  return put(state, {
    id: event.tool_call_id,
    name: event.name,
    input: known?.input,
    startedAt: known?.startedAt,
    decided: known?.decided,
    phase: event.is_error ? "error" : "success",
    output: event.output,
    durationMs: event.duration_ms,
  });
}

/** A call was allowed or denied; that may be told before it is said to start. */
export function decideTool(state: SessionState, event: EventOf<"permission.decided">): SessionState {
  if (event.tool_call_id === undefined) return state;
  const known = state.tools[event.tool_call_id];
  const decided = { allowed: event.allowed, by: event.by };
  return put(state, {
    phase: "running",
    ...known,
    id: event.tool_call_id,
    name: known?.name ?? event.tool,
    decided,
  });
}

/** What finished messages say of tools: calls give the input, results give output and outcome. */
export function toolsFromMessages(
  tools: Record<string, ToolRun>,
  messages: Message[],
): Record<string, ToolRun> {
  const next = { ...tools };
  let changed = false;
  for (const message of messages) {
    for (const part of message.parts) {
      if (!isPart(part, "tool_result")) continue;
      const known = next[part.toolCallId];
      changed = true;
      next[part.toolCallId] = {
        id: part.toolCallId,
        name: part.name ?? message.tool_name ?? known?.name ?? "",
        input: known?.input,
        startedAt: known?.startedAt,
        decided: known?.decided,
        phase: part.isError ? "error" : "success",
        output: part.output ?? known?.output,
        durationMs: part.durationMs ?? known?.durationMs,
      };
    }
  }
  return changed ? next : tools;
}

/** Tools that run at the moment of a snapshot, with their newest output. */
export function runningTools(state: SessionState, running: AgentState["runningTools"]): SessionState {
  return running.reduce<SessionState>((before, tool) => {
    const known = before.tools[tool.toolCallId];
    return put(before, {
      ...known,
      id: tool.toolCallId,
      name: tool.name,
      phase: "running",
      output: tool.partialOutput ?? known?.output,
    });
  }, state);
}

function put(state: SessionState, run: ToolRun): SessionState {
  return { ...state, tools: { ...state.tools, [run.id]: run } };
}
