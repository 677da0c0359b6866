/**
 * A modal dialog on the platform's own `<dialog>`: focus stays inside, Escape closes, what lies behind
 * is inert, and nothing is injected into the page.
 */
import { X } from "lucide-react";
import { type ReactNode, useEffect, useId, useRef } from "react";
import { useTranslation } from "react-i18next";
import { IconButton } from "./Button";
import { cx } from "./cx";

interface Props {
  title: string;
  onClose: () => void;
  children: ReactNode;
  className?: string;
  /** Hides the bar with title and close button; the title is still read out. */
  bare?: boolean;
  testId?: string;
}

export function Dialog({ title, onClose, children, className, bare, testId }: Props) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  const { t } = useTranslation();

  useEffect(() => {
    const before = document.activeElement;
    ref.current?.showModal();
    // The platform focuses whatever can be focused first; where there is something to fill in, that is meant.
    ref.current?.querySelector<HTMLElement>("input:not([type=radio]), textarea")?.focus();
    return () => {
      // What opened this may be gone, as an entry of the palette is: then reading goes on in the page.
      if (before instanceof HTMLElement && before.isConnected && before !== document.body) before.focus();
      else document.getElementById("main")?.focus();
    };
  }, []);

  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a modal dialog by itself.
    <dialog
      ref={ref}
      data-testid={testId}
      aria-labelledby={id}
      onClose={onClose}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === ref.current && onClose()}
      className={cx(
        "rise m-auto max-h-[min(90dvh,46rem)] w-[min(34rem,calc(100vw-1.5rem))] overflow-hidden rounded-2xl border bg-surface p-0 shadow-2xl shadow-(color:--shadow)",
        className,
      )}
    >
      <div className="flex max-h-[inherit] flex-col">
        <header className={cx("flex items-center justify-between gap-4 px-5 pt-4 pb-1", bare && "sr-only")}>
          <h2 id={id} className="text-lg font-semibold tracking-tight">
            {title}
          </h2>
          {!bare && (
            <IconButton label={t("close")} onClick={onClose}>
              <X size={17} />
            </IconButton>
          )}
        </header>
        {children}
      </div>
    </dialog>
  );
}
