/** The runs of tools, kept beside the messages because they outlive the message that asked for them. Pure. */
import type { AgentEvent, Message } from "../wire";
import type { SessionState, ToolRun } from "./state";

type ToolEvent<E extends AgentEvent["event"]> = Extract<AgentEvent, { event: E }>;

export function startTool(state: SessionState, event: ToolEvent<"tool.start">, ts: number): SessionState {
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

export function progressTool(state: SessionState, event: ToolEvent<"tool.progress">): SessionState {
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

export function endTool(state: SessionState, event: ToolEvent<"tool.end">): SessionState {
  const known = state.tools[event.tool_call_id];
  return put(state, {
    id: event.tool_call_id,
    name: event.name,
    input: known?.input,
    startedAt: known?.startedAt,
    phase: event.is_error ? "error" : "success",
    output: event.output,
    durationMs: event.duration_ms,
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
      if (part.type !== "tool_result") continue;
      const known = next[part.toolCallId];
      changed = true;
      next[part.toolCallId] = {
        id: part.toolCallId,
        name: part.name ?? message.tool_name ?? known?.name ?? "",
        input: known?.input,
        startedAt: known?.startedAt,
        phase: part.isError ? "error" : "success",
        output: part.output ?? known?.output,
        durationMs: part.durationMs ?? known?.durationMs,
      };
    }
  }
  return changed ? next : tools;
}

function put(state: SessionState, run: ToolRun): SessionState {
  return { ...state, tools: { ...state.tools, [run.id]: run } };
}
