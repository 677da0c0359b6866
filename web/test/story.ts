/** A stream of events with all that happens in a session, made from numbers so that it can be random. */
import type { AgentEvent, Message } from "../src/lib/wire.ts";

/** What one number of a random story turns into: a whole turn with its messages and tools. */
export function turn(n: number, kind: number): AgentEvent[] {
  const user = message(`u${n}`, n * 3, "user", `question ${n}`, `c${n}`);
  const answer = message(`a${n}`, n * 3 + 1, "assistant", `answer ${n} in pieces`);
  const events: AgentEvent[] = [
    { event: "input.accepted", kind: "prompt", client_id: `c${n}`, message: `question ${n}` },
    { event: "stream.message_end", message: user },
    { event: "agent.working", phase: "generating" },
  ];
  if (kind % 4 === 1) {
    events.push(
      { event: "stream.message_start", message_id: `x${n}`, role: "assistant" },
      { event: "stream.text_delta", message_id: `x${n}`, delta: "never finished", content_index: 0 },
      { event: "retry.start", attempt: 1, max_attempts: 3, delay_ms: 10, error: "overloaded" },
      { event: "stream.message_discarded", message_id: `x${n}`, reason: "retried" },
      { event: "retry.end", success: true, attempt: 1 },
    );
  }
  events.push(
    { event: "stream.message_start", message_id: answer.id, role: "assistant" },
    { event: "stream.thinking_delta", message_id: answer.id, delta: "hm", content_index: 0 },
    { event: "stream.text_delta", message_id: answer.id, delta: `answer ${n} `, content_index: 1 },
    { event: "stream.text_delta", message_id: answer.id, delta: "in pieces", content_index: 1 },
  );
  if (kind % 4 === 2) events.push(...toolRun(n, answer));
  else events.push({ event: "stream.message_end", message: answer });
  if (kind % 4 === 3) {
    events.push(
      {
        event: "agent.input_needed",
        request: { type: "confirm", request_id: `r${n}`, title: "Sure?", message: "" },
      },
      { event: "agent.input_resolved", request_id: `r${n}` },
      {
        event: "queue.changed",
        steering: [{ kind: "steer", message: "left", client_id: `s${n}` }],
        follow_up: [],
      },
      { event: "queue.changed", steering: [], follow_up: [] },
      { event: "session.title_changed", title: `title ${n}` },
    );
  }
  const usage = { input_tokens: 10 * n, output_tokens: n };
  events.push({ event: "usage", usage, session_total: usage }, { event: "stream.done", reason: "stop" });
  events.push(
    kind % 5 === 4 ? { event: "agent.error", error: "broke", recoverable: true } : { event: "agent.idle" },
  );
  return events;
}

function toolRun(n: number, answer: Message): AgentEvent[] {
  const id = `t${n}`;
  const input = { command: "ls" };
  const output = { content: [{ type: "text", text: "a\nb" }] };
  const result: Message = {
    ...message(`r${n}`, n * 3 + 2, "tool", ""),
    parts: [
      {
        type: "tool_result",
        id: `p-r${n}`,
        toolCallId: id,
        name: "bash",
        output,
        isError: false,
        durationMs: 12,
      },
    ],
  };
  answer.parts.push({ type: "tool_call", id: `p-${id}`, toolCallId: id, name: "bash", input });
  const at = { message_id: answer.id, tool_call_id: id, content_index: 2 };
  return [
    { event: "stream.tool_call_start", ...at, name: "bash" },
    { event: "stream.tool_call_delta", ...at, delta: '{"command":' },
    { event: "stream.tool_call_delta", ...at, delta: '"ls"}' },
    { event: "stream.tool_call_end", ...at, tool_call: { id, name: "bash", input } },
    { event: "stream.message_end", message: answer },
    { event: "tool.start", tool_call_id: id, name: "bash", input },
    {
      event: "tool.progress",
      tool_call_id: id,
      name: "bash",
      partial_output: { content: [{ type: "text", text: "a" }] },
    },
    { event: "tool.end", tool_call_id: id, name: "bash", output, is_error: false, duration_ms: 12 },
    { event: "stream.message_end", message: result },
  ];
}

export function message(
  id: string,
  idx: number,
  role: Message["role"],
  text: string,
  client_id?: string,
): Message {
  return {
    id,
    idx,
    role,
    client_id,
    parts: text ? [{ type: "text", id: `p-${id}`, text }] : [],
    created_at: 1,
  };
}
