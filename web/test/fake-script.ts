/** What the fake server's agent does: a little of everything a screen must be able to show. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Part } from "../src/lib/wire.ts";
import type { Script, ScriptContext } from "./fake-octo.ts";

const REPLY = `The parser treats a blank line inside a fence as the end of the block. That is the whole bug: \`cut()\` looks at the line, not at the state it is in.

## What I changed

1. \`cut()\` now keeps the opening fence and only leaves it at its partner.
2. A list keeps its items together, even with blank lines between them.

\`\`\`rust
/// Cuts a text into blocks that can be rendered on their own.
pub fn cut(text: &str) -> Vec<&str> {
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        match (fence, mark(line)) {
            (Some(open), Some(close)) if close.starts_with(open) => fence = None,
            (None, Some(open)) => fence = Some(open),
            _ => {}
        }
    }
    blocks
}
\`\`\`

| case | before | now |
|---|---|---|
| blank line in a fence | two blocks | one block |
| loose list | numbering restarts | continues |

All 41 tests pass. See [the CommonMark section on fences](https://spec.commonmark.org/0.31.2/#fenced-code-blocks) for the rule.`;

export const script: Script = async (context) => {
  const { prompt } = context;
  if (prompt.startsWith("@demo")) return demo(context);
  if (/permission/i.test(prompt)) return permission(context);
  if (/retry/i.test(prompt)) return retry(context);
  if (/plain/i.test(prompt)) return stream(context, [], `You said: ${prompt}`, "stop");
  if (/long/i.test(prompt)) return stream(context, [], `${REPLY}\n\n`.repeat(6), "stop");
  await work(context);
};

interface DemoTurn {
  text?: string;
  chunks?: number;
  delay_ms?: number;
  tools?: { name: string; input: Record<string, unknown> }[];
}

/** The part of the demo model's script language that the end-to-end test uses. Its commands really run. */
async function demo(context: ScriptContext): Promise<void> {
  const turns = JSON.parse(context.prompt.slice("@demo".length)) as DemoTurn[];
  for (const { text = "", chunks = 1, delay_ms = 0, tools = [] } of turns) {
    const call = tools[0];
    if (!call) {
      await stream(context, [], text, "stop", "", { size: Math.ceil(text.length / chunks), pause: delay_ms });
      continue;
    }
    const done = await promisify(execFile)("bash", ["-c", String(call.input.command)], { cwd: context.cwd });
    await tool(context, text, call.name, call.input, [done.stdout || "done\n"]);
  }
}

async function work(context: ScriptContext): Promise<void> {
  const { emit, wait, aborted } = context;
  await tool(
    context,
    "I will look at the parser and its tests first.",
    "bash",
    { command: "rg -n 'fn cut' src && cargo test -q blocks" },
    [
      "src/blocks.rs:41:pub fn cut(text: &str) -> Vec<&str> {\n",
      "\nrunning 41 tests\n",
      "................F........................\n",
      "failures: blocks::a_blank_line_in_a_fence_is_code\n",
    ],
    true,
  );
  if (aborted()) return;
  await tool(context, "", "read", { path: "src/blocks.rs" }, [
    "pub fn cut(text: &str) -> Vec<&str> {\n    …\n}\n",
  ]);
  if (aborted()) return;
  await tool(
    context,
    "The state is missing. I will carry the fence along.",
    "edit",
    {
      path: "src/blocks.rs",
      edits: [
        {
          oldText:
            "    for line in text.lines() {\n        if line.is_empty() {\n            blocks.push(take(&mut current));\n        }\n    }",
          newText:
            "    let mut fence: Option<&str> = None;\n    for line in text.lines() {\n        if line.is_empty() && fence.is_none() {\n            blocks.push(take(&mut current));\n        }\n    }",
        },
      ],
    },
    ["edited src/blocks.rs\n"],
  );
  if (aborted()) return;
  await tool(
    context,
    "",
    "write",
    { path: "notes/fences.md", content: "# Fences\n\nA fence ends at its partner, nowhere else.\n" },
    ["wrote 52 bytes\n"],
  );
  if (aborted()) return;
  emit({ event: "agent.working", phase: "generating" });
  await wait(50);
  await stream(
    context,
    [],
    REPLY,
    "stop",
    "The failing case has a blank line within a fence. The loop forgets that it is inside one, so the block ends early.",
  );
}

async function tool(
  context: ScriptContext,
  text: string,
  name: string,
  input: Record<string, unknown>,
  output: string[],
  failed = false,
): Promise<void> {
  const { emit, wait, nextId } = context;
  const id = nextId("call");
  const call: Part = { type: "tool_call", id: nextId("part"), toolCallId: id, name, input };
  await stream(context, [call], text, "tool_use");
  if (context.aborted()) return;
  emit({ event: "agent.working", phase: "tool_running", detail: name });
  emit({ event: "tool.start", tool_call_id: id, name, input });
  let sofar = "";
  for (const piece of output) {
    await wait(180);
    sofar += piece;
    emit({ event: "tool.progress", tool_call_id: id, name, partial_output: result(sofar) });
  }
  await wait(120);
  const end = result(failed ? `${sofar}\nCommand exited with code 101` : sofar);
  emit({
    event: "tool.end",
    tool_call_id: id,
    name,
    output: end,
    is_error: failed,
    duration_ms: 180 * output.length + 120,
  });
  context.finish(
    [
      {
        type: "tool_result",
        id: nextId("part"),
        toolCallId: id,
        name,
        output: end,
        isError: failed,
        durationMs: 180 * output.length + 120,
      },
    ],
    nextId("msg"),
    { role: "tool", tool_call_id: id, tool_name: name, is_error: failed },
  );
}

/** Streams a message in small pieces, then ends it with the parts given. */
async function stream(
  context: ScriptContext,
  parts: Part[],
  text: string,
  stop: "stop" | "tool_use",
  thinking = "",
  pace = { size: 9, pause: 24 },
): Promise<void> {
  const { emit, wait, nextId, finish, aborted } = context;
  const message_id = nextId("msg");
  emit({ event: "agent.working", phase: thinking ? "thinking" : "generating" });
  emit({ event: "stream.message_start", message_id, role: "assistant" });
  const done: Part[] = [];
  for (const piece of pieces(thinking)) {
    emit({ event: "stream.thinking_delta", message_id, delta: piece, content_index: 0 });
    await wait(24);
  }
  if (thinking) done.push({ type: "thinking", id: nextId("part"), text: thinking });
  let sofar = "";
  for (const piece of pieces(text, pace.size)) {
    if (aborted()) break;
    sofar += piece;
    emit({ event: "stream.text_delta", message_id, delta: piece, content_index: done.length });
    await wait(pace.pause);
  }
  if (sofar) done.push({ type: "text", id: nextId("part"), text: sofar });
  for (const part of parts) {
    if (part.type !== "tool_call" || !("toolCallId" in part)) continue;
    const at = { message_id, tool_call_id: part.toolCallId, content_index: done.length };
    emit({ event: "stream.tool_call_start", ...at, name: part.name });
    for (const piece of pieces(JSON.stringify(part.input))) {
      emit({ event: "stream.tool_call_delta", ...at, delta: piece });
      await wait(12);
    }
    emit({
      event: "stream.tool_call_end",
      ...at,
      tool_call: { id: part.toolCallId, name: part.name, input: part.input },
    });
    done.push(part);
  }
  const usage = {
    input_tokens: 1840 + text.length,
    output_tokens: Math.ceil(text.length / 4),
    cost_usd: 0.0042,
  };
  finish(done, message_id, {
    model: "scripted",
    provider: "demo",
    stop_reason: aborted() ? "aborted" : stop,
    usage,
  });
}

function pieces(text: string, size = 9): string[] {
  return text.match(new RegExp(`[\\s\\S]{1,${size}}`, "g")) ?? [];
}

function result(text: string) {
  return { content: [{ type: "text", text }] };
}

async function permission(context: ScriptContext): Promise<void> {
  await stream(context, [], "This changes files outside the folder, so I ask first.", "stop");
  const answer = await context.ask({
    type: "permission",
    request_id: context.nextId("req"),
    title: "Run a command that deletes files?",
    description: "The build directory is outside of the session's folder.",
    metadata: { tool: "bash", command: "rm -rf /srv/cache/build && make -C /srv/app clean" },
    options: [
      { option_id: "deny", label: "Deny", kind: "deny_once" },
      { option_id: "always", label: "Always allow", kind: "allow_always" },
      { option_id: "once", label: "Allow", kind: "allow_once" },
    ],
  });
  await stream(
    context,
    [],
    answer.option_id === "deny" || answer.cancelled ? "Then I leave it." : "Done: the cache is empty.",
    "stop",
  );
}

async function retry(context: ScriptContext): Promise<void> {
  const { emit, wait } = context;
  emit({ event: "retry.start", attempt: 1, max_attempts: 3, delay_ms: 500, error: "529 overloaded" });
  await wait(600);
  emit({ event: "retry.end", success: true, attempt: 1 });
  emit({
    event: "compact.end",
    success: true,
    will_retry: false,
    summary: "We fixed the parser.",
    tokens_before: 180_000,
  });
  emit({ event: "notify", level: "info", message: "The workspace has uncommitted changes." });
  await stream(context, [], "It worked at the second attempt.", "stop");
}
