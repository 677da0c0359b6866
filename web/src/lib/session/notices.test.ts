import { expect, test } from "vitest";
import { FakeJournal } from "../../../test/fake-journal.ts";
import type { AgentEvent } from "../wire";
import { reduce } from "./reduce";
import { emptySession } from "./state";

function notices(...events: AgentEvent[]): string[] {
  const journal = new FakeJournal("s");
  let state = journal.attach(undefined).reduce(reduce, emptySession());
  for (const event of events) state = reduce(state, journal.append(event));
  return state.items.flatMap((item) => (item.kind === "notice" ? [`${item.notice}: ${item.text}`] : []));
}

const retry = (attempt: number): AgentEvent => ({
  event: "retry.start",
  attempt,
  max_attempts: 3,
  delay_ms: 1,
  error: "busy",
});

test("attempts share one row, and giving up is told once", () => {
  expect(
    notices(
      retry(1),
      retry(2),
      retry(3),
      { event: "retry.end", success: false, attempt: 3, final_error: "busy" },
      { event: "agent.error", error: "busy", recoverable: true },
    ),
  ).toEqual(["retry_failed: Busy"]);
});

test("an answer that was cut off is not gone without a word", () => {
  const cut: AgentEvent[] = [
    { event: "stream.message_start", message_id: "m", role: "assistant" },
    { event: "stream.message_discarded", message_id: "m", reason: "the agent ended" },
  ];
  expect(notices(...cut)).toEqual(["interrupted: The agent ended"]);
  expect(notices(...cut, retry(1))).toEqual(["retry: 1/3 · Busy"]);
});
