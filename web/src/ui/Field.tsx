import { type ComponentProps, type ReactNode, useId } from "react";
import { cx } from "./cx";

export const inputStyle =
  "w-full rounded-lg border border-line-strong bg-raised px-3 h-10 text-ink outline-none focus-visible:border-focus focus-visible:ring-2 focus-visible:ring-focus/30 pointer-coarse:h-12 pointer-coarse:text-base";

/** A labelled input, with a hint or the reason why its value is refused. */
export function Field({
  label,
  hint,
  error,
  className,
  ...rest
}: ComponentProps<"input"> & { label: string; hint?: ReactNode; error?: string | null }) {
  const id = useId();
  const note = error ?? hint;
  return (
    <div className={className}>
      <label htmlFor={id} className="mb-1.5 block text-sm font-medium">
        {label}
      </label>
      <input
        id={id}
        {...rest}
        aria-invalid={error ? true : undefined}
        aria-describedby={note ? `${id}-note` : undefined}
        className={cx(inputStyle, error && "border-bad")}
      />
      {note && (
        <p id={`${id}-note`} className={cx("mt-1.5 text-sm", error ? "text-bad" : "text-faint")}>
          {note}
        </p>
      )}
    </div>
  );
}
