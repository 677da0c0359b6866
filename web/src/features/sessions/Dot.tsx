import { useTranslation } from "react-i18next";
import type { SessionDot } from "@/lib/sessions";
import { cx } from "@/ui/cx";

const looks: Record<SessionDot, string> = {
  idle: "border-[1.5px] border-line-strong",
  working: "bg-accent alive",
  input: "bg-warn ring-3 ring-warn/25",
  error: "bg-bad",
};

/** A session's state as a dot; shape and movement differ too, not only the colour. */
export function Dot({ dot }: { dot: SessionDot }) {
  const { t } = useTranslation();
  const label = t(`dot.${dot}`);
  return (
    <span
      role="img"
      aria-label={label}
      title={label}
      data-dot={dot}
      className={cx(
        "inline-block size-2 shrink-0",
        dot === "error" ? "rounded-[2px]" : "rounded-full",
        looks[dot],
      )}
    />
  );
}
