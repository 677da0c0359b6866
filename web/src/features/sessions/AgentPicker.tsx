import { useId } from "react";
import { useTranslation } from "react-i18next";
import type { AgentKind } from "@/lib/features";

interface Props {
  agents: AgentKind[];
  value: string;
  onChange: (id: string) => void;
}

/** The agents that are installed, side by side. Where there is only one, there is nothing to choose. */
export function AgentPicker({ agents, value, onChange }: Props) {
  const { t } = useTranslation();
  const name = useId();
  if (agents.length < 2) return null;
  return (
    <fieldset data-testid="agent-picker">
      <legend className="mb-1.5 text-sm font-medium">{t("new.agentLabel")}</legend>
      <div className="grid auto-cols-fr grid-flow-col gap-1 rounded-xl border bg-sunken p-1">
        {agents.map((agent) => (
          <label
            key={agent.id}
            className="flex h-8 cursor-pointer items-center justify-center rounded-lg px-3 text-sm text-soft has-checked:bg-raised has-checked:font-medium has-checked:text-ink has-checked:shadow-sm has-focus-visible:outline-2 has-focus-visible:outline-focus hover:text-ink pointer-coarse:h-10"
          >
            <input
              type="radio"
              name={name}
              value={agent.id}
              checked={agent.id === value}
              onChange={() => onChange(agent.id)}
              className="sr-only"
            />
            {agent.name}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
