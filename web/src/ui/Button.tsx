import type { ComponentProps, ReactNode } from "react";
import { cx } from "./cx";

type Tone = "primary" | "plain" | "quiet" | "danger";

const tones: Record<Tone, string> = {
  primary: "bg-accent text-accent-ink hover:brightness-105 active:brightness-95",
  plain: "bg-raised border text-ink hover:border-line-strong",
  quiet: "text-soft hover:bg-sunken hover:text-ink",
  danger: "bg-bad-wash text-bad border border-bad/30 hover:border-bad",
};

export function Button({ tone = "plain", className, ...rest }: ComponentProps<"button"> & { tone?: Tone }) {
  return (
    <button
      type="button"
      {...rest}
      className={cx(
        "inline-flex h-9 items-center justify-center gap-2 rounded-lg px-3.5 text-sm font-medium whitespace-nowrap transition-[background,border-color,filter] disabled:opacity-50 pointer-coarse:h-11",
        tones[tone],
        className,
      )}
    />
  );
}

/** A button that shows only an icon; `label` is read out and shown as a hint. */
export function IconButton({
  label,
  className,
  children,
  ...rest
}: ComponentProps<"button"> & { label: string; children: ReactNode }) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      {...rest}
      className={cx(
        "inline-flex size-8 shrink-0 items-center justify-center rounded-lg text-soft transition-colors hover:bg-sunken hover:text-ink disabled:opacity-40 pointer-coarse:size-11",
        className,
      )}
    >
      {children}
    </button>
  );
}
