import { useId } from "react";
import { useTranslation } from "react-i18next";
import type { Harness } from "@/lib/features";
import { sentence } from "@/lib/sentence";

interface Props {
  agents: Harness[];
  value: string;
  onChange: (name: string) => void;
}

/** The agents that there are. Those that are not installed cannot be chosen and say how to get them. Where there is only one, there is nothing to choose. */
export function AgentPicker({ agents, value, onChange }: Props) {
  const { t } = useTranslation();
  const id = useId();
  if (agents.length < 2 && agents.every((agent) => agent.installed)) return null;
  const missing = agents.filter((agent) => !agent.installed);
  return (
    <fieldset data-testid="agent-picker">
      <legend className="mb-1.5 text-sm font-medium">{t("new.agentLabel")}</legend>
      <div className="grid grid-cols-[repeat(auto-fit,minmax(8rem,1fr))] gap-1 rounded-xl border bg-sunken p-1">
        {agents.map((agent) => (
          <label
            key={agent.name}
            className="flex min-h-8 cursor-pointer items-center justify-center gap-1.5 rounded-lg px-3 text-sm text-soft has-checked:bg-raised has-checked:font-medium has-checked:text-ink has-checked:shadow-sm has-disabled:cursor-not-allowed has-disabled:text-faint has-focus-visible:outline-2 has-focus-visible:outline-focus not-has-disabled:hover:text-ink pointer-coarse:min-h-10"
          >
            <input
              type="radio"
              name={id}
              value={agent.name}
              checked={agent.name === value}
              disabled={!agent.installed}
              aria-label={agent.label}
              aria-describedby={agent.installed ? undefined : `${id}-${agent.name}`}
              onChange={() => onChange(agent.name)}
              className="sr-only"
            />
            <span className="truncate">{agent.label}</span>
            {agent.version && <span className="text-xs font-normal text-faint">{agent.version}</span>}
          </label>
        ))}
      </div>
      {missing.map((agent) => (
        <p key={agent.name} id={`${id}-${agent.name}`} className="mt-1.5 text-sm text-soft">
          {t("new.notInstalled", { name: agent.label })}{" "}
          <Command text={`${sentence(agent.how_to_get ?? "")}.`} />
        </p>
      ))}
    </fieldset>
  );
}

/** A sentence with commands between backticks. */
function Command({ text }: { text: string }) {
  return text.split("`").map((piece, at) =>
    at % 2 === 1 ? (
      <code key={piece} className="rounded bg-sunken px-1 py-0.5 font-mono text-xs wrap-anywhere text-ink">
        {piece}
      </code>
    ) : (
      piece
    ),
  );
}
