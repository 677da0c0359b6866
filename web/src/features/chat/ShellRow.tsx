/** A command that a person ran in the agent's place. */
import { Square } from "lucide-react";
import { memo } from "react";
import { useTranslation } from "react-i18next";
import type { Feed } from "@/lib/session/feed";
import type { ToolRun } from "@/lib/session/state";
import { sayError } from "../shell/ui-state";
import { ToolCard } from "./ToolCard";

export const ShellRow = memo(function ShellRow({ run, feed }: { run: ToolRun; feed: Feed }) {
  const { t } = useTranslation();
  return (
    <article aria-label={t("shellCommand.label")} data-testid="shell-row" className="pl-9 max-sm:pl-7">
      <p className="mb-1 flex items-center gap-2 text-xs text-faint">
        {t("shellCommand.label")}
        {run.phase === "running" && (
          <button
            type="button"
            data-testid="shell-stop"
            onClick={() => void feed.endCommand().catch(sayError)}
            className="flex items-center gap-1 rounded-md border px-1.5 py-0.5 hover:text-ink pointer-coarse:min-h-11"
          >
            <Square size={9} className="fill-bad text-bad" />
            {t("composer.stop")}
          </button>
        )}
      </p>
      <ToolCard id={run.id} name={run.name} run={run} asked working />
    </article>
  );
});
