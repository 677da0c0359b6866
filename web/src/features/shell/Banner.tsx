/** Tells when octo cannot be reached. A short cut is not worth a word: resume makes it unnoticeable. */
import { CloudOff } from "lucide-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { mux } from "@/lib/client";
import { useMuxStatus } from "@/lib/use-mux";
import { Button } from "@/ui/Button";

/** How long a cut may last before anyone is told. */
const PATIENCE_MS = 1_500;

export function Banner() {
  const { t } = useTranslation();
  const status = useMuxStatus();
  const [late, setLate] = useState(false);
  const down = status !== "open";

  useEffect(() => {
    if (!down) {
      setLate(false);
      return;
    }
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [down]);

  const ended = status === "ended";
  return (
    <div role="status" data-testid="connection" data-status={status}>
      {down && (late || ended) && (
        <div className="flex items-center gap-3 border-b bg-warn-wash px-4 py-1.5 text-sm text-warn">
          <CloudOff size={16} className="shrink-0" />
          <span className="min-w-0 flex-1">{ended ? t("banner.ended") : t("banner.lost")}</span>
          <Button tone="quiet" className="h-7 text-warn" onClick={() => (ended ? mux.start() : mux.nudge())}>
            {t("banner.retry")}
          </Button>
        </div>
      )}
    </div>
  );
}
