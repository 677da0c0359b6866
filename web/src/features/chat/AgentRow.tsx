/** What an agent said and did in one message. Beside it runs an arm with a sucker for each piece. */
import { TriangleAlert } from "lucide-react";
import { memo } from "react";
import { useTranslation } from "react-i18next";
import { clock, cost, tokens } from "@/lib/format";
import { usePrefs } from "@/lib/prefs";
import { failureOf, textOf } from "@/lib/session/parts";
import type { LiveMessage, ToolRun } from "@/lib/session/state";
import { type Block, blocksOf } from "@/lib/session/timeline";
import type { Message } from "@/lib/wire";
import { cx } from "@/ui/cx";
import { Mark } from "@/ui/Logo";
import { CopyButton } from "./CodeBlock";
import { Markdown } from "./Markdown";
import { Picture } from "./Picture";
import { Thinking } from "./Thinking";
import { ToolCard } from "./ToolCard";

interface Props {
  message?: Message;
  live?: LiveMessage;
  first: boolean;
  /** No further message of this turn follows, so the arm ends here. */
  last: boolean;
  /** The agent is at work: what has not ended may still do so. */
  working: boolean;
  tools: Record<string, ToolRun>;
}

export const AgentRow = memo(function AgentRow({ message, live, first, last, working, tools }: Props) {
  const { t } = useTranslation();
  const blocks = blocksOf({ message, live });
  const streaming = live !== undefined;
  // The foot line shows only under the pointer: the arm ends above it.
  const footed = message !== undefined && hasEnding(message);

  return (
    <article
      aria-label={t("chat.agent")}
      data-testid="agent-message"
      data-live={streaming || undefined}
      className="group/message relative pl-9 max-sm:pl-7"
    >
      <span
        aria-hidden="true"
        className={`absolute top-0 left-[11px] w-px bg-line max-sm:left-[9px] ${!last ? "-bottom-5" : footed ? "bottom-8" : "bottom-0"}`}
      />
      {first && (
        <span className="absolute -top-0.5 left-0 rounded-full bg-surface pb-0.5 max-sm:-left-0.5">
          <Mark size={23} />
        </span>
      )}
      <div className="flex flex-col gap-2.5">
        {blocks.map((block, n) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a message's parts only grow at its end.
          <div key={n} className="relative min-w-0">
            {!(first && n === 0) && <Sucker live={streaming && n === blocks.length - 1} />}
            <BlockView
              block={block}
              tools={tools}
              live={streaming && n === blocks.length - 1}
              asked={!streaming}
              working={working}
            />
          </div>
        ))}
        {streaming && blocks.length === 0 && <p className="alive w-fit text-faint">…</p>}
        {message && <Ending message={message} />}
      </div>
    </article>
  );
});

function Sucker({ live }: { live: boolean }) {
  return (
    <span
      aria-hidden="true"
      className={`absolute top-2 left-[-29px] size-2.5 rounded-full border-2 border-surface max-sm:left-[-23px] ${live ? "alive bg-accent" : "bg-line-strong"}`}
    />
  );
}

interface BlockProps {
  block: Block;
  tools: Record<string, ToolRun>;
  live: boolean;
  asked: boolean;
  working: boolean;
}

function BlockView({ block, tools, live, asked, working }: BlockProps) {
  switch (block.type) {
    case "text":
      return <Markdown text={block.text} />;
    case "thinking":
      return <Thinking text={block.text} live={live} />;
    case "tool":
      return (
        <ToolCard
          id={block.id}
          name={block.name}
          input={block.input}
          partial={block.partial}
          run={tools[block.id]}
          asked={asked}
          working={working}
        />
      );
    case "image":
      return <Picture part={block.part} />;
    case "file":
      return <p className="font-mono text-sm text-soft">{block.label}</p>;
  }
}

type StopReason = Message["stop_reason"];

function isOdd(reason: StopReason): reason is "error" | "length" | "aborted" {
  return reason === "error" || reason === "length" || reason === "aborted";
}

/** Between two tools nobody needs a foot line. */
function hasEnding(message: Message): boolean {
  return isOdd(message.stop_reason) || (message.stop_reason !== "tool_use" && textOf(message) !== "");
}

/** How a message ended, when not as usual, and what it cost. */
function Ending({ message }: { message: Message }) {
  const { t } = useTranslation();
  const language = usePrefs((prefs) => prefs.language);
  const text = textOf(message);
  const { usage, stop_reason } = message;
  const odd = isOdd(stop_reason);
  const failure = failureOf(message);
  if (!hasEnding(message)) return null;
  return (
    <footer className="flex min-h-7 items-center gap-2.5 text-xs text-faint">
      {odd && (
        <span
          className={cx(
            "flex items-start gap-1.5 text-sm",
            stop_reason === "error" ? "text-bad" : "text-warn",
          )}
        >
          <TriangleAlert size={14} className="mt-1 shrink-0" />
          <span className="[overflow-wrap:anywhere]">
            {t(`stop.${stop_reason}`)}
            {failure && stop_reason === "error" && `: ${failure}`}
          </span>
        </span>
      )}
      <span className="flex items-center gap-2.5 opacity-0 transition-opacity group-focus-within/message:opacity-100 group-hover/message:opacity-100 pointer-coarse:opacity-100">
        {text && <CopyButton text={text} />}
        <time className="whitespace-nowrap max-sm:hidden">{clock(message.created_at, language)}</time>
        {usage && usage.input_tokens + usage.output_tokens > 0 && (
          <span className="whitespace-nowrap tabular-nums" title={t("usage.tokens")}>
            ↑{tokens(usage.input_tokens)} ↓{tokens(usage.output_tokens)}
            {usage.cost_usd ? ` · ${cost(usage.cost_usd)}` : ""}
          </span>
        )}
      </span>
    </footer>
  );
}
