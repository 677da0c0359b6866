import { RotateCcw, Undo2 } from "lucide-react";
import { memo, useState } from "react";
import { useTranslation } from "react-i18next";
import { dataUrl } from "@/lib/images";
import { sentence } from "@/lib/sentence";
import type { Feed } from "@/lib/session/feed";
import { isPart, textOf } from "@/lib/session/parts";
import type { PendingInput } from "@/lib/session/timeline";
import type { Message } from "@/lib/wire";
import { Button } from "@/ui/Button";
import { cx } from "@/ui/cx";
import { Picture, Thumbnail } from "./Picture";

const bubble =
  "ml-auto w-fit max-w-[min(38rem,88%)] rounded-2xl rounded-br-md px-4 py-2.5 whitespace-pre-wrap [overflow-wrap:anywhere]";

export const UserRow = memo(function UserRow({ message }: { message: Message }) {
  const { t } = useTranslation();
  const images = message.parts.filter((part) => isPart(part, "image"));
  const text = textOf(message);
  return (
    <article aria-label={t("chat.you")} data-testid="user-message">
      {images.length > 0 && (
        <div className="mb-2 flex flex-wrap justify-end gap-2">
          {images.map((part) => (
            <Picture key={part.id} part={part} />
          ))}
        </div>
      )}
      {text && <Said text={text} />}
    </article>
  );
});

/** Longer than this, a message is shown in part: what was pasted need not fill the screen. */
const LONG_TEXT = 1_600;
const LONG_LINES = 18;

function Said({ text, className }: { text: string; className?: string }) {
  const { t } = useTranslation();
  const [whole, setWhole] = useState(false);
  const short = text.split("\n").slice(0, LONG_LINES).join("\n").slice(0, LONG_TEXT);
  const long = short.length < text.length;
  return (
    <div className={cx(bubble, className ?? "bg-accent-wash")}>
      {long && !whole ? `${short}…` : text}
      {long && (
        <button
          type="button"
          onClick={() => setWhole(!whole)}
          className="mt-1.5 block text-sm text-info hover:underline"
        >
          {whole ? t("tool.less") : t("chat.whole")}
        </button>
      )}
    </div>
  );
}

/** A message on its way. It looks like the one it becomes, so nothing jumps when it arrives. */
export function PendingRow({
  pending,
  feed,
  onEdit,
}: {
  pending: PendingInput;
  feed: Feed;
  onEdit: (text: string) => void;
}) {
  const { t } = useTranslation();
  const { phase } = pending;
  return (
    <article aria-label={t("chat.you")} data-testid="pending-message" data-phase={pending.phase}>
      {pending.images.length > 0 && (
        <div className="mb-2 flex flex-wrap justify-end gap-2">
          {pending.images.map((image) => (
            <Thumbnail
              key={image.data.slice(0, 64) + image.data.length}
              src={dataUrl(image)}
              alt={t("image.alt")}
            />
          ))}
        </div>
      )}
      {pending.message && (
        <Said
          text={pending.message}
          className={phase === "failed" ? "bg-bad-wash" : "bg-accent-wash opacity-70"}
        />
      )}
      <div className="mt-1 flex min-h-5 items-center justify-end gap-2 text-xs text-faint">
        {phase === "failed" ? (
          <>
            <span className="text-bad">{sentence(pending.reason ?? "")}</span>
            <Button tone="quiet" className="h-7 px-2 text-xs" onClick={() => feed.retry(pending.clientId)}>
              <RotateCcw size={13} />
              {t("pending.retry")}
            </Button>
            <Button
              tone="quiet"
              className="h-7 px-2 text-xs"
              onClick={() => {
                feed.takeBack(pending.clientId);
                onEdit(pending.message);
              }}
            >
              <Undo2 size={13} />
              {t("pending.edit")}
            </Button>
          </>
        ) : (
          t(`pending.${phase}`)
        )}
      </div>
    </article>
  );
}
