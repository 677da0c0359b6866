/** The rows of a conversation as the screen shows them. Pure. */
import type { ImageInput, InputKind, Message, Removed } from "../wire";
import type { FeedView } from "./feed";
import { isPart, type PartOf } from "./parts";
import { runningShell, shellOf } from "./shell";
import type { LiveMessage, NoticeKind, SessionState, ToolRun } from "./state";

/** A piece of an agent's message, whether it still streams or is finished. */
export type Block =
  | { type: "text"; text: string }
  | { type: "thinking"; text: string }
  | { type: "tool"; id: string; name: string; input?: unknown; partial?: string }
  | { type: "image"; part: PartOf<"image"> }
  | { type: "file"; label: string };

export type Row =
  | { kind: "removed"; key: string; removed: Removed }
  | { kind: "user"; key: string; message: Message }
  | { kind: "agent"; key: string; message?: Message; live?: LiveMessage; first: boolean; last: boolean }
  | { kind: "notice"; key: string; notice: NoticeKind; text: string; ts: number }
  | { kind: "shell"; key: string; run: ToolRun }
  | { kind: "pending"; key: string; pending: PendingInput };

export interface PendingInput {
  clientId: string;
  kind: InputKind;
  message: string;
  images: ImageInput[];
  /** `sending`: octo has not answered yet. `accepted`: it is in the journal and waits for the agent. */
  phase: "sending" | "accepted" | "failed";
  reason?: string;
}

export function rowsOf(view: FeedView): Row[] {
  const { session } = view;
  const rows: Row[] = [];
  // At the very beginning of what there is, once that is loaded.
  if (session.removed && !session.hasMore) {
    rows.push({ kind: "removed", key: "removed", removed: session.removed });
  }
  let inTurn = false;
  for (const item of session.items) {
    if (item.kind === "notice") {
      rows.push({ kind: "notice", key: item.id, notice: item.notice, text: item.text, ts: item.ts });
      continue;
    }
    const message = item.kind === "message" ? item.message : undefined;
    const live = item.kind === "live" ? session.live[item.id] : undefined;
    const role = message?.role ?? live?.role;
    if (role === "user") {
      // A user's message is whole when it comes; its live shape has nothing to show.
      if (message) rows.push({ kind: "user", key: message.client_id ?? message.id, message });
      inTurn = false;
    } else if (role === "assistant") {
      rows.push({ kind: "agent", key: item.id, message, live, first: !inTurn, last: true });
      const before = rows.at(-2);
      if (inTurn && before?.kind === "agent") before.last = false;
      inTurn = true;
    } else if (message) {
      const run = shellOf(message);
      if (run) rows.push({ kind: "shell", key: run.id, run });
    }
  }
  const running = runningShell(session);
  if (running) rows.push({ kind: "shell", key: running.id, run: running });
  for (const pending of pendingInput(view)) {
    rows.push({ kind: "pending", key: pending.clientId, pending });
  }
  return rows;
}

/** Input that is on its way: accepted and not yet handed over, then what octo has not answered. */
function pendingInput({ session, outbox }: FeedView): PendingInput[] {
  const queued = new Set([...session.steering, ...session.followUp].map((entry) => entry.client_id));
  const accepted = session.accepted
    .filter((entry) => !queued.has(entry.clientId))
    .map((entry): PendingInput => ({ ...entry, phase: "accepted" }));
  const sending = outbox.map(
    (entry): PendingInput => ({
      clientId: entry.clientId,
      kind: entry.kind,
      message: entry.message,
      images: entry.images,
      phase: entry.failed === null ? "sending" : "failed",
      reason: entry.failed ?? undefined,
    }),
  );
  return [...accepted, ...sending];
}

export function blocksOf(row: { message?: Message; live?: LiveMessage }): Block[] {
  if (row.message) return messageBlocks(row.message);
  return (row.live?.parts ?? []).map((part): Block => {
    if (part.type === "tool_call") {
      return { type: "tool", id: part.toolCallId, name: part.name, input: part.input, partial: part.json };
    }
    return { type: part.type, text: part.text };
  });
}

function messageBlocks(message: Message): Block[] {
  return message.parts.flatMap((part): Block[] => {
    if (isPart(part, "text")) return part.text ? [{ type: "text", text: part.text }] : [];
    if (isPart(part, "thinking")) return part.text ? [{ type: "thinking", text: part.text }] : [];
    if (isPart(part, "tool_call")) {
      return [{ type: "tool", id: part.toolCallId, name: part.name, input: part.input }];
    }
    if (isPart(part, "image")) return [{ type: "image", part }];
    if (isPart(part, "file_ref")) return [{ type: "file", label: part.label ?? part.uri }];
    if (isPart(part, "attachment")) return [{ type: "file", label: part.filename ?? "attachment" }];
    return [];
  });
}

/** What a session has used so far: what the server says, or else the sum of what we have. */
export function totalUsage(session: SessionState): { input: number; output: number; cost: number } {
  if (session.total) {
    const { input_tokens, output_tokens, cost_usd } = session.total;
    return { input: input_tokens, output: output_tokens, cost: cost_usd ?? 0 };
  }
  const sum = { input: 0, output: 0, cost: 0 };
  for (const item of session.items) {
    const usage = item.kind === "message" ? item.message.usage : undefined;
    if (!usage) continue;
    sum.input += usage.input_tokens;
    sum.output += usage.output_tokens;
    sum.cost += usage.cost_usd ?? 0;
  }
  return sum;
}
