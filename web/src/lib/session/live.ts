/** Building up a message from its deltas. Pure. */
import type { EventOf } from "../wire";
import type { LiveMessage, LivePart } from "./state";

type Delta = EventOf<
  | "stream.text_delta"
  | "stream.thinking_delta"
  | "stream.tool_call_start"
  | "stream.tool_call_delta"
  | "stream.tool_call_end"
>;

/** Longest partial tool input that is kept as text while it streams; the finished input replaces it. */
export const MAX_PARTIAL_INPUT = 256 * 1024;

export function applyDelta(message: LiveMessage, delta: Delta): LiveMessage {
  const at = message.parts.findIndex((part) => part.index === delta.content_index);
  const before = at < 0 ? undefined : message.parts[at];
  const after = nextPart(before, delta);
  if (!after || after === before) return message;
  const parts = message.parts.slice();
  if (at >= 0) parts[at] = after;
  else {
    parts.push(after);
    parts.sort((a, b) => a.index - b.index);
  }
  return { ...message, parts };
}

function nextPart(part: LivePart | undefined, delta: Delta): LivePart | undefined {
  const index = delta.content_index;
  switch (delta.event) {
    case "stream.text_delta":
      return { type: "text", index, text: (part?.type === "text" ? part.text : "") + delta.delta };
    case "stream.thinking_delta":
      return { type: "thinking", index, text: (part?.type === "thinking" ? part.text : "") + delta.delta };
    case "stream.tool_call_start":
      return { type: "tool_call", index, toolCallId: delta.tool_call_id, name: delta.name, json: "" };
    case "stream.tool_call_delta": {
      const call = part?.type === "tool_call" ? part : undefined;
      const json = (call?.json ?? "") + delta.delta;
      return {
        type: "tool_call",
        index,
        toolCallId: call?.toolCallId || delta.tool_call_id,
        name: call?.name ?? "",
        json: json.length > MAX_PARTIAL_INPUT ? (call?.json ?? "") : json,
      };
    }
    case "stream.tool_call_end":
      return {
        type: "tool_call",
        index,
        toolCallId: delta.tool_call.id || delta.tool_call_id,
        name: delta.tool_call.name,
        json: "",
        input: delta.tool_call.input,
      };
  }
}
