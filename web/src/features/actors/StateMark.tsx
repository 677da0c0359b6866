/** An actor's state: an icon, a word and a colour, so that none of them is needed alone. */
import {
  CircleCheck,
  CircleDashed,
  CirclePause,
  CircleSlash,
  Hourglass,
  type LucideIcon,
  OctagonX,
  RotateCw,
} from "lucide-react";
import { useTranslation } from "react-i18next";
import { cx } from "@/ui/cx";

const LOOKS: Record<string, { icon: LucideIcon; tone: string }> = {
  running: { icon: CircleCheck, tone: "text-good" },
  starting: { icon: CircleDashed, tone: "text-info" },
  stuck: { icon: Hourglass, tone: "text-bad bg-bad-wash" },
  restarting: { icon: RotateCw, tone: "text-warn bg-warn-wash" },
  degraded: { icon: OctagonX, tone: "text-bad bg-bad-wash" },
  stopping: { icon: CirclePause, tone: "text-soft" },
  stopped: { icon: CircleSlash, tone: "text-faint" },
};

const UNKNOWN = { icon: CircleDashed, tone: "text-soft" };

/** The states in the order in which they are offered. */
export const STATES = Object.keys(LOOKS);

/** The state's word; one that a newer octo has is shown as octo names it. */
export function useStateWord(): (state: string) => string {
  const { t } = useTranslation();
  return (state) => (state in LOOKS ? t(`actors.state.${state as "running"}`) : state);
}

export function StateMark({ state, className }: { state: string; className?: string }) {
  const word = useStateWord();
  const { icon: Icon, tone } = LOOKS[state] ?? UNKNOWN;
  return (
    <span
      data-state={state}
      className={cx(
        "inline-flex items-center gap-1.5 rounded-md px-1.5 py-0.5 text-xs font-medium whitespace-nowrap",
        tone,
        className,
      )}
    >
      <Icon size={14} aria-hidden className="shrink-0" />
      {word(state)}
    </span>
  );
}
