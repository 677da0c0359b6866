import { CircleAlert, Info, PackageOpen, RotateCw, ShieldX, TriangleAlert } from "lucide-react";
import { memo, useState } from "react";
import { useTranslation } from "react-i18next";
import type { NoticeKind } from "@/lib/session/state";
import { cx } from "@/ui/cx";

const looks: Record<NoticeKind, { icon: typeof Info; tone: string }> = {
  info: { icon: Info, tone: "text-faint" },
  warning: { icon: TriangleAlert, tone: "text-warn" },
  error: { icon: CircleAlert, tone: "text-bad" },
  retry: { icon: RotateCw, tone: "text-warn" },
  retry_failed: { icon: CircleAlert, tone: "text-bad" },
  compacted: { icon: PackageOpen, tone: "text-faint" },
  compact_failed: { icon: TriangleAlert, tone: "text-warn" },
  restarted: { icon: RotateCw, tone: "text-faint" },
  interrupted: { icon: TriangleAlert, tone: "text-warn" },
  denied: { icon: ShieldX, tone: "text-warn" },
  closed: { icon: Info, tone: "text-faint" },
};

/** Kinds whose sentence is ours, with what the server says as detail. */
const NAMED = [
  "retry",
  "retry_failed",
  "compacted",
  "compact_failed",
  "restarted",
  "interrupted",
  "denied",
] as const;
const SHORT = 160;

/** A quiet line between the messages. */
export const NoticeRow = memo(function NoticeRow({ notice, text }: { notice: NoticeKind; text: string }) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const named = NAMED.find((kind) => kind === notice);
  const { icon: Icon, tone } = looks[notice];
  const long = text.length > SHORT || (notice === "compacted" && text.length > 0);
  const detail = long && !open ? "" : text;
  return (
    <div
      role="note"
      data-testid="notice"
      data-notice={notice}
      className={cx("flex gap-2.5 pl-9 text-sm max-sm:pl-7", tone)}
    >
      <Icon size={15} className="mt-1 shrink-0" />
      <div className="min-w-0 whitespace-pre-wrap [overflow-wrap:anywhere]">
        {named && <span className="font-medium">{t(`notice.${named}`)} </span>}
        {long && !open && notice !== "compacted" ? `${text.slice(0, SHORT)}… ` : detail}
        {long && (
          <button type="button" onClick={() => setOpen(!open)} className="ml-1 underline underline-offset-2">
            {open ? t("tool.less") : t("notice.more")}
          </button>
        )}
      </div>
    </div>
  );
});
