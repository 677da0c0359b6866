/** Commands that a person runs in the agent's place: a tool while they run, a message of the role `system` when they are done. Pure. */
import type { Message } from "../wire";
import type { SessionState, ToolRun } from "./state";

/** What the call of such a command begins with; the rest is the id of the message that it becomes. */
const CALL = "bash-";

/** What a message of this kind says; `null` of any other. */
export function shellOf(message: Message): ToolRun | null {
  const metadata = message.metadata as Record<string, unknown> | undefined;
  if (message.role !== "system" || metadata?.kind !== "bash_execution") return null;
  const code = metadata.exit_code;
  const text = message.parts.map((part) => ("text" in part ? String(part.text) : "")).join("");
  return {
    id: CALL + message.id,
    name: "bash",
    phase: metadata.cancelled === true || (typeof code === "number" && code !== 0) ? "error" : "success",
    input: { command: String(metadata.command ?? "") },
    // Its first line repeats the command.
    output: { content: [{ type: "text", text: text.slice(text.indexOf("\n") + 1) }] },
  };
}

/** The command that runs now, if one does. */
export function runningShell(session: SessionState): ToolRun | undefined {
  return Object.values(session.tools).find((run) => run.id.startsWith(CALL) && run.phase === "running");
}

/** The command that a text asks for: what follows `!`. */
export function commandIn(text: string): string | null {
  const command = text.trimStart().match(/^!(?!\[)\s*(\S[\s\S]*)$/)?.[1];
  return command?.trimEnd() ?? null;
}
