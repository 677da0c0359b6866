/** One session of the fake server: its journal, its state in words, and how it stands in lists. */
import type {
  AgentState,
  InputRequest,
  ListedSession,
  Model,
  QueuedInput,
  SessionStatus,
  ThinkingLevel,
} from "../src/lib/wire.ts";
import { FakeJournal } from "./fake-journal.ts";

type Frame = Record<string, unknown>;

export class FakeSession {
  readonly id: string;
  readonly journal: FakeJournal;
  cwd: string;
  title: string;
  model = { provider: "demo", id: "scripted" };
  thinkingLevel: ThinkingLevel = "medium";
  working = false;
  stop = false;
  activity = Date.now();
  requests = new Map<string, { request: InputRequest; answer: (value: Frame) => void }>();
  queue: QueuedInput[] = [];
  seen = new Map<string, string>();

  constructor(id: string, cwd: string, title: string) {
    this.id = id;
    this.cwd = cwd;
    this.title = title;
    this.journal = new FakeJournal(id);
  }

  get state(): SessionStatus {
    if (this.requests.size > 0) return "needs_input";
    return this.working ? "working" : "idle";
  }

  agentState(): AgentState {
    return {
      model: MODELS.find((model) => model.id === this.model.id),
      thinkingLevel: this.thinkingLevel,
      isStreaming: this.working,
      isCompacting: false,
      sessionId: this.id,
      sessionName: this.title || undefined,
      pendingInput: [...this.requests.values()].map((r) => r.request),
      steeringMode: "all",
      followUpMode: "one-at-a-time",
      autoCompactionEnabled: true,
      messageCount: this.journal.messages.length,
      pendingMessageCount: this.queue.length,
      status: this.state,
      queued: this.queue,
      runningTools: [],
      cwd: this.cwd,
    };
  }
}

export const MODELS: Model[] = [
  {
    id: "scripted",
    name: "Scripted",
    api: "demo",
    provider: "demo",
    reasoning: true,
    input: ["text", "image"],
    contextWindow: 200_000,
    maxTokens: 8192,
  },
  {
    id: "claude-sonnet-4-5",
    name: "Claude Sonnet 4.5",
    api: "anthropic",
    provider: "anthropic",
    reasoning: true,
    input: ["text", "image"],
    contextWindow: 200_000,
    maxTokens: 64_000,
    cost: { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 },
  },
  {
    id: "qwen3-coder:30b",
    name: "Qwen3 Coder 30B",
    api: "openai",
    provider: "ollama",
    reasoning: false,
    input: ["text"],
    contextWindow: 131_072,
    maxTokens: 8192,
  },
];

export function listed(session: FakeSession): ListedSession {
  return {
    session_id: session.id,
    state: session.state,
    cwd: session.cwd,
    provider: session.model.provider,
    model: session.model.id,
    last_activity: session.activity,
    created_at: session.activity,
    message_count: session.journal.messages.length,
    subscriber_count: 0,
    harness: "pi",
    title: session.title || undefined,
    epoch: session.journal.epoch,
    seq: session.journal.head,
  };
}

/** One that is installed, and one that is not. */
export const HARNESSES = [
  { name: "pi", label: "pi", is_default: true, installed: true, version: "0.87.1", models: MODELS },
  {
    name: "claude",
    label: "Claude Code",
    is_default: false,
    installed: false,
    how_to_get: "`octo agents install claude` on the server installs it",
    api: "anthropic-messages",
    models: [],
  },
];
