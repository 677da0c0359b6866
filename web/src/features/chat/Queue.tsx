/** What waits for the agent: steering comes at its next pause, follow-ups when it is done. Both can be changed until then. */
import { Check, CornerDownRight, ListEnd, type LucideIcon, Pencil, X } from "lucide-react";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { randomId } from "@/lib/id";
import type { Feed } from "@/lib/session/feed";
import type { QueuedInput } from "@/lib/wire";
import { IconButton } from "@/ui/Button";
import { inputStyle } from "@/ui/Field";
import { sayError } from "../shell/ui-state";

interface Props {
  feed: Feed;
  steering: QueuedInput[];
  followUp: QueuedInput[];
  /** What the session can do; null while that is not known. */
  capabilities: string[] | null;
}

export function Queue({ feed, steering, followUp, capabilities }: Props) {
  const { t } = useTranslation();
  const able = capabilities?.includes("queue.drop") === true;
  const entries = [
    ...steering.map((entry) => ({ entry, icon: CornerDownRight, label: t("queue.steer") })),
    ...followUp.map((entry) => ({ entry, icon: ListEnd, label: t("queue.followUp") })),
  ];
  if (entries.length === 0) return null;
  return (
    <ul
      aria-label={t("queue.title")}
      data-testid="queue"
      className="mb-2 rounded-xl border border-dashed px-3 py-1.5 text-sm"
    >
      {entries.map(({ entry, icon, label }, n) => (
        <Entry
          key={entry.client_id ?? `${n}-${entry.message}`}
          entry={entry}
          icon={icon}
          label={label}
          feed={able && entry.client_id !== undefined ? feed : null}
        />
      ))}
    </ul>
  );
}

function Entry({
  entry,
  icon: Icon,
  label,
  feed,
}: {
  entry: QueuedInput;
  icon: LucideIcon;
  label: string;
  /** Null for what cannot be changed. */
  feed: Feed | null;
}) {
  const { t } = useTranslation();
  const [text, setText] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const change = (cmd: string, payload: Record<string, unknown>) => {
    setBusy(true);
    // What has gone to the agent meanwhile is gone: that is said, and the queue shows it.
    feed
      ?.command(cmd, { client_id: entry.client_id, ...payload })
      .catch(sayError)
      .finally(() => {
        setBusy(false);
        setText(null);
      });
  };
  const save = (event: FormEvent) => {
    event.preventDefault();
    if (text === null || text.trim() === "" || text === entry.message) setText(null);
    else change("queue.replace", { message: text, new_client_id: randomId() });
  };
  return (
    <li className="flex min-h-8 items-center gap-2.5 py-0.5" data-testid="queued">
      <Icon size={14} className="shrink-0 text-faint" />
      {text === null ? (
        <>
          <span className="min-w-0 flex-1 truncate">{entry.message}</span>
          <span className="shrink-0 text-xs text-faint">{label}</span>
          {feed && (
            <>
              <IconButton
                label={t("pending.edit")}
                className="-my-1"
                disabled={busy}
                onClick={() => setText(entry.message)}
              >
                <Pencil size={14} />
              </IconButton>
              <IconButton
                label={t("parked.drop")}
                className="-my-1"
                disabled={busy}
                onClick={() => change("queue.drop", {})}
              >
                <X size={15} />
              </IconButton>
            </>
          )}
        </>
      ) : (
        <form onSubmit={save} className="flex min-w-0 flex-1 items-center gap-1.5">
          <input
            // biome-ignore lint/a11y/noAutofocus: the person has just asked for this field.
            autoFocus
            aria-label={t("queue.edit")}
            value={text}
            disabled={busy}
            onChange={(event) => setText(event.target.value)}
            onKeyDown={(event) => {
              if (event.key !== "Escape") return;
              event.preventDefault();
              setText(null);
            }}
            className={inputStyle}
          />
          <IconButton label={t("queue.save")} type="submit" disabled={busy}>
            <Check size={15} />
          </IconButton>
          <IconButton label={t("cancel")} disabled={busy} onClick={() => setText(null)}>
            <X size={15} />
          </IconButton>
        </form>
      )}
    </li>
  );
}
