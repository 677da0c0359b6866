/** A JSON value as something to read: one member a line, what is large folded away, nothing rendered as HTML. */
import { ChevronRight } from "lucide-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { cx } from "@/ui/cx";

/** Members of one object or list that are shown. */
const MAX_MEMBERS = 100;
/** An object with more members than these begins folded, but for the outermost. */
const OPEN_MEMBERS = 8;
/** Characters of one text that are shown. */
const MAX_TEXT = 500;

export function JsonTree({ value }: { value: unknown }) {
  return (
    <div className="font-mono text-xs leading-5" data-testid="json">
      {isBranch(value) ? <Members value={value} /> : <Leaf value={value} />}
    </div>
  );
}

type Branch = Record<string, unknown> | unknown[];

function isBranch(value: unknown): value is Branch {
  return typeof value === "object" && value !== null;
}

function Members({ value }: { value: Branch }) {
  const { t } = useTranslation();
  const members = Object.entries(value);
  if (members.length === 0) return <span className="text-faint">{Array.isArray(value) ? "[]" : "{}"}</span>;
  return (
    <ul>
      {members.slice(0, MAX_MEMBERS).map(([name, member]) => (
        <Member key={name} name={name} value={member} />
      ))}
      {members.length > MAX_MEMBERS && (
        <li className="text-faint">
          {t("actors.panel.moreMembers", { count: members.length - MAX_MEMBERS })}
        </li>
      )}
    </ul>
  );
}

function Member({ name, value }: { name: string; value: unknown }) {
  const size = isBranch(value) ? Object.keys(value).length : 0;
  const [open, setOpen] = useState(size <= OPEN_MEMBERS);
  if (!isBranch(value) || size === 0) {
    return (
      <li className="flex min-w-0 gap-2 pl-4">
        <span className="shrink-0 text-soft">{name}</span>
        {isBranch(value) ? <Members value={value} /> : <Leaf value={value} />}
      </li>
    );
  }
  return (
    <li>
      <button
        type="button"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        className="flex items-center rounded text-soft hover:text-ink"
      >
        <ChevronRight
          size={13}
          aria-hidden
          className={cx("mr-[3px] transition-transform", open && "rotate-90")}
        />
        {name}
        {!open && <span className="ml-2 text-faint">{Array.isArray(value) ? `[${size}]` : `{${size}}`}</span>}
      </button>
      {open && (
        <div className="ml-1.5 border-l pl-2">
          <Members value={value} />
        </div>
      )}
    </li>
  );
}

function Leaf({ value }: { value: unknown }) {
  if (typeof value === "string") {
    const text = value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value;
    return <span className="min-w-0 break-words text-good">{JSON.stringify(text)}</span>;
  }
  if (value === null || value === undefined) return <span className="text-faint">null</span>;
  return <span className="text-info">{String(value)}</span>;
}
