import { Pencil, SendHorizontal, X } from "lucide-react";
import { useTranslation } from "react-i18next";
import type { Feed } from "@/lib/session/feed";
import type { QueuedInput } from "@/lib/wire";
import { IconButton } from "@/ui/Button";

/** Messages that were queued when the agent was stopped: neither run nor lost. */
export function Parked({
  feed,
  parked,
  onEdit,
}: {
  feed: Feed;
  parked: QueuedInput[];
  onEdit: (text: string) => void;
}) {
  const { t } = useTranslation();
  if (parked.length === 0) return null;
  return (
    <section
      aria-label={t("parked.title")}
      data-testid="parked"
      className="mb-2 rounded-xl border bg-warn-wash/60 px-3 py-2 text-sm"
    >
      <h2 className="text-xs text-soft">{t("parked.title")}</h2>
      <ul>
        {parked.map((entry, n) => (
          <li key={entry.client_id ?? `${n}-${entry.message}`} className="flex items-center gap-1">
            <span className="min-w-0 flex-1 truncate">{entry.message}</span>
            <IconButton
              label={t("parked.send")}
              onClick={() => {
                feed.dropParked(entry);
                feed.send("prompt", entry.message);
              }}
            >
              <SendHorizontal size={15} />
            </IconButton>
            <IconButton
              label={t("pending.edit")}
              onClick={() => {
                feed.dropParked(entry);
                onEdit(entry.message);
              }}
            >
              <Pencil size={14} />
            </IconButton>
            <IconButton label={t("parked.drop")} onClick={() => feed.dropParked(entry)}>
              <X size={15} />
            </IconButton>
          </li>
        ))}
      </ul>
    </section>
  );
}
