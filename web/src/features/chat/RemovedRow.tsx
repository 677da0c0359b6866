import { Archive } from "lucide-react";
import { memo } from "react";
import { useTranslation } from "react-i18next";
import { day } from "@/lib/format";
import type { RemovalReason, Removed } from "@/lib/wire";

const KNOWN: readonly RemovalReason[] = ["age", "size"];

/** Where a conversation begins whose beginning is not kept any more: how much it was, of when, and why. */
export const RemovedRow = memo(function RemovedRow({ removed }: { removed: Removed }) {
  const { t, i18n } = useTranslation();
  const date = (ts: number) => day(ts, i18n.language);
  const why = KNOWN.filter((reason) => removed.reasons.includes(reason)).map((reason) =>
    t(`removed.${reason}`),
  );
  return (
    <div
      role="note"
      data-testid="removed"
      className="flex gap-2.5 rounded-lg border border-dashed px-3.5 py-2.5 text-sm text-soft"
    >
      <Archive size={15} className="mt-0.5 shrink-0 text-faint" />
      <p className="min-w-0 text-pretty">
        {t("removed.text", {
          messages: t("removed.messages", { count: removed.messages }),
          turns: t("removed.turns", { count: removed.turns }),
          first: date(removed.first_at),
          last: date(removed.last_at),
          at: date(removed.removed_at),
          why: why.join(" "),
        }).trim()}
      </p>
    </div>
  );
});
