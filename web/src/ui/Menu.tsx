/** A menu that opens from a button. Not modal, so it neither locks scrolling nor injects styles. */
import { Check } from "lucide-react";
import { DropdownMenu } from "radix-ui";
import type { ReactNode } from "react";
import { cx } from "./cx";

export function Menu({
  trigger,
  children,
  align = "end",
  side,
}: {
  trigger: ReactNode;
  children: ReactNode;
  align?: "start" | "end";
  side?: "top" | "bottom";
}) {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content
          align={align}
          side={side}
          sideOffset={6}
          collisionPadding={10}
          className="rise z-50 max-h-[min(24rem,70dvh)] min-w-48 overflow-y-auto rounded-xl border bg-raised p-1.5 shadow-xl shadow-(color:--shadow)"
        >
          {children}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}

export function MenuItem({
  children,
  onSelect,
  danger,
  checked,
  hint,
}: {
  children: ReactNode;
  onSelect: () => void;
  danger?: boolean;
  /** Set for one of several: shows whether it is the chosen one. */
  checked?: boolean;
  hint?: ReactNode;
}) {
  const className = cx(
    "flex min-h-9 items-center gap-2.5 rounded-lg px-2.5 py-1.5 text-sm outline-none select-none data-highlighted:bg-sunken pointer-coarse:min-h-11",
    danger ? "text-bad" : "text-ink",
  );
  if (checked === undefined) {
    return (
      <DropdownMenu.Item className={className} onSelect={onSelect}>
        {children}
        {hint && <span className="ml-auto pl-4 text-xs text-faint">{hint}</span>}
      </DropdownMenu.Item>
    );
  }
  return (
    <DropdownMenu.CheckboxItem className={className} checked={checked} onCheckedChange={onSelect}>
      <Check size={15} className={cx("shrink-0 text-accent", !checked && "invisible")} />
      <span className="min-w-0 truncate">{children}</span>
      {hint && <span className="ml-auto pl-4 text-xs text-faint">{hint}</span>}
    </DropdownMenu.CheckboxItem>
  );
}

export function MenuLabel({ children }: { children: ReactNode }) {
  return (
    <DropdownMenu.Label className="px-2.5 pt-1.5 pb-1 text-xs text-faint">{children}</DropdownMenu.Label>
  );
}

export function MenuLine() {
  return <DropdownMenu.Separator className="my-1.5 h-px bg-line" />;
}
