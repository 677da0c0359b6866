import { CornerDownRight, ListEnd } from "lucide-react";
import { useTranslation } from "react-i18next";
import type { QueuedInput } from "@/lib/wire";

/** What waits for the agent: steering comes at its next pause, follow-ups when it is done. */
export function Queue({ steering, followUp }: { steering: QueuedInput[]; followUp: QueuedInput[] }) {
  const { t } = useTranslation();
  const entries = [
    ...steering.map((entry) => ({ ...entry, icon: CornerDownRight, label: t("queue.steer") })),
    ...followUp.map((entry) => ({ ...entry, icon: ListEnd, label: t("queue.followUp") })),
  ];
  if (entries.length === 0) return null;
  return (
    <ul
      aria-label={t("queue.title")}
      data-testid="queue"
      className="mb-2 rounded-xl border border-dashed px-3 py-1.5 text-sm"
    >
      {entries.map((entry, n) => (
        <li key={entry.client_id ?? `${n}-${entry.message}`} className="flex items-center gap-2.5 py-0.5">
          <entry.icon size={14} className="shrink-0 text-faint" />
          <span className="min-w-0 flex-1 truncate">{entry.message}</span>
          <span className="shrink-0 text-xs text-faint">{entry.label}</span>
        </li>
      ))}
    </ul>
  );
}
