/** One run of a tool: what was asked, what came out while it ran, how it ended. */
import {
  ChevronRight,
  FilePen,
  FilePlus2,
  FileText,
  Search,
  ShieldCheck,
  ShieldX,
  SquareTerminal,
  Wrench,
} from "lucide-react";
import { memo, useId, useState } from "react";
import { useTranslation } from "react-i18next";
import { duration } from "@/lib/format";
import type { Decided, ToolRun } from "@/lib/session/state";
import { type ToolKind, toolKind, toolSummary } from "@/lib/tool-view";
import { cx } from "@/ui/cx";
import { ToolBody } from "./ToolBody";

const icons: Record<ToolKind, typeof Wrench> = {
  bash: SquareTerminal,
  read: FileText,
  write: FilePlus2,
  edit: FilePen,
  search: Search,
  other: Wrench,
};

interface Props {
  id: string;
  name: string;
  input?: unknown;
  /** The input as far as it has streamed. */
  partial?: string;
  run?: ToolRun;
  /** The message that asks for the tool is finished. */
  asked: boolean;
  /** The agent is at work. Without it, a tool that has not ended never will. */
  working: boolean;
}

export const ToolCard = memo(function ToolCard({ name, input, partial, run, asked, working }: Props) {
  const { t } = useTranslation();
  const kind = toolKind(name);
  const Icon = icons[kind];
  const args = run?.input ?? input;
  const summary = toolSummary(name, args, partial);
  const state = run?.phase ?? (asked ? "pending" : "asking");
  const phase = working || state === "success" || state === "error" ? state : run ? "interrupted" : "unrun";
  // What a person looks at first is open; a file that was read or a list that was searched is not.
  const [open, setOpen] = useState<boolean | null>(null);
  const shown = open ?? (phase === "error" || (kind !== "read" && kind !== "search"));
  const bodyId = useId();

  return (
    <section
      aria-label={t("tool.label", { name })}
      data-testid="tool-card"
      data-tool={name}
      data-phase={phase}
      className={cx("overflow-hidden rounded-card border bg-raised", phase === "error" && "border-bad/40")}
    >
      <button
        type="button"
        aria-expanded={shown}
        aria-controls={bodyId}
        onClick={() => setOpen(!shown)}
        className="flex min-h-9 w-full items-center gap-2.5 px-3 py-1 text-left text-sm -outline-offset-2 hover:bg-sunken/50 pointer-coarse:min-h-11"
      >
        <Icon size={15} className={cx("shrink-0", phase === "error" ? "text-bad" : "text-faint")} />
        <span className="shrink-0 font-medium">{name || t("tool.unnamed")}</span>
        <span className="min-w-0 flex-1 truncate font-mono text-[12.5px] text-soft" title={summary}>
          {summary}
        </span>
        {run?.decided && <Decision {...run.decided} />}
        <Outcome phase={phase} ms={run?.durationMs} />
        <ChevronRight
          size={14}
          className={cx("shrink-0 text-faint transition-transform", shown && "rotate-90")}
        />
      </button>
      <div id={bodyId} hidden={!shown}>
        {shown && <ToolBody kind={kind} args={args} run={run} />}
      </div>
    </section>
  );
});

/** Who let the call run, or did not. */
function Decision({ allowed, by }: Decided) {
  const { t } = useTranslation();
  const Icon = allowed ? ShieldCheck : ShieldX;
  const text = t(allowed ? `decided.allowed.${by}` : `decided.denied.${by}`);
  return (
    <span role="img" aria-label={text} title={text} data-testid="decision" data-by={by} className="shrink-0">
      <Icon size={14} className={allowed ? "text-faint" : "text-warn"} />
    </span>
  );
}

type Outcomes = ToolRun["phase"] | "asking" | "pending" | "interrupted" | "unrun";

function Outcome({ phase, ms }: { phase: Outcomes; ms?: number }) {
  const { t } = useTranslation();
  if (phase === "running" || phase === "asking" || phase === "pending") {
    return (
      <span
        role="img"
        aria-label={t("tool.running")}
        title={t("tool.running")}
        className={cx(
          "size-2 shrink-0 rounded-full",
          phase === "pending" ? "bg-line-strong" : "alive bg-accent",
        )}
      />
    );
  }
  if (phase === "interrupted" || phase === "unrun") {
    return <span className="shrink-0 text-xs text-warn">{t(`tool.${phase}`)}</span>;
  }
  return (
    <span
      className={cx(
        "shrink-0 text-xs tabular-nums",
        phase === "error" ? "font-medium text-bad" : "text-faint",
      )}
    >
      {phase === "error" && `${t("tool.failed")} `}
      {ms !== undefined && duration(ms)}
      {phase === "success" && <span className="sr-only"> {t("tool.done")}</span>}
    </span>
  );
}
