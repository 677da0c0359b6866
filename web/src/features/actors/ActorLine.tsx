// biome-ignore-all lint/a11y/useSemanticElements: a table can be neither virtual nor a tree.
// biome-ignore-all lint/a11y/useFocusableInteractive: one focus, that of the grid around them, is for all cells.
/** One line of the list. Drawn anew only when something in it is different: most lines stay as they are from look to look. */
import { ChevronRight, Folder, TriangleAlert } from "lucide-react";
import { memo } from "react";
import { useTranslation } from "react-i18next";
import type { Line } from "@/lib/actors/lines";
import type { ChangeKind } from "@/lib/actors/table";
import { MAILBOX_FULL, mailboxFill } from "@/lib/actors/trouble";
import { perSecond } from "@/lib/format";
import type { ActorRow } from "@/lib/wire";
import { cx } from "@/ui/cx";
import { StateMark } from "./StateMark";

/** Pixels by which a level of the tree is set in. */
const STEP_PX = 18;

export const FLASHES: Record<ChangeKind, string> = {
  restarted: "bg-warn/30",
  restarting: "bg-warn/30",
  degraded: "bg-bad/30",
  stuck: "bg-bad/30",
  recovered: "bg-good/25",
  stopping: "bg-ink/10",
  came: "bg-good/20",
  gone: "bg-ink/10",
};

export interface LineProps {
  id: string;
  line: Line;
  flat: boolean;
  rate: number | null;
  age: string;
  active: boolean;
  selected: boolean;
  /** Number of the change that has just happened. */
  flash: number | null;
  flashKind: ChangeKind | null;
  row: number;
  onOpen: (path: string) => void;
  onFold: (path: string) => void;
}

export const ActorLine = memo(ActorLineView, isSame);

function isSame(a: LineProps, b: LineProps): boolean {
  const { line: one, ...before } = a;
  const { line: other, ...after } = b;
  return isShallowlySame(one, other) && isShallowlySame(before, after);
}

function isShallowlySame<T extends object>(a: T, b: T): boolean {
  return (Object.keys(a) as (keyof T)[]).every((key) => Object.is(a[key], b[key]));
}

function ActorLineView(props: LineProps) {
  const { id, line, flat, rate, age, active, selected, flash, flashKind, row, onOpen, onFold } = props;
  const { t } = useTranslation();
  const actor = line.actor?.row;
  const tree = flat
    ? {}
    : {
        "aria-level": line.level,
        "aria-expanded": line.open ?? undefined,
        "aria-setsize": line.siblings,
        "aria-posinset": line.place,
      };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid around it has the keys, and one focus for all lines.
    <div
      id={id}
      role="row"
      aria-rowindex={row}
      aria-selected={selected}
      {...tree}
      data-testid="actor-line"
      data-path={line.path}
      data-trouble={line.trouble ?? undefined}
      onClick={() => (actor ? onOpen(line.path) : onFold(line.path))}
      className={cx(
        "actor-line relative h-full border-b border-line/60 text-sm select-none",
        selected ? "bg-accent-wash" : "hover:bg-ink/4",
        active && "shadow-[inset_3px_0_0_var(--focus)]",
      )}
    >
      {flash !== null && flashKind && (
        <span
          key={flash}
          aria-hidden
          data-testid="flash"
          className={cx("happened pointer-events-none absolute inset-0", FLASHES[flashKind])}
        />
      )}
      <span
        role="gridcell"
        className="flex h-full min-w-0 items-center gap-1"
        style={{ paddingLeft: flat ? 0 : (line.level - 1) * STEP_PX }}
      >
        {!flat && <Fold line={line} onFold={onFold} />}
        {!actor && <Folder size={14} aria-hidden className="shrink-0 text-faint" />}
        <span
          className={cx("truncate font-mono text-[13px]", !actor && "text-soft")}
          title={line.path}
          dir={flat ? "rtl" : undefined}
        >
          {flat ? <bdi>{line.name}</bdi> : line.name}
        </span>
        {line.open === false && line.below > 0 && (
          <span className="shrink-0 rounded-full bg-sunken px-1.5 text-xs text-faint tabular-nums">
            {line.below}
          </span>
        )}
        {line.open === false && line.wrongBelow > 0 && (
          <span
            className="flex shrink-0 items-center gap-0.5 text-xs text-bad"
            title={t("actors.wrongBelow", { count: line.wrongBelow })}
          >
            <TriangleAlert size={13} aria-hidden />
            <span className="sr-only">{t("actors.wrongBelow", { count: line.wrongBelow })}</span>
            <span aria-hidden>{line.wrongBelow}</span>
          </span>
        )}
      </span>
      {actor && <Cells row={actor} rate={rate} age={age} />}
    </div>
  );
}

function Fold({ line, onFold }: { line: Line; onFold: (path: string) => void }) {
  if (line.open === null) return <span className="w-5 shrink-0" />;
  return (
    <span
      aria-hidden
      data-testid="fold"
      onClick={(event) => {
        event.stopPropagation();
        onFold(line.path);
      }}
      className="grid h-full w-5 shrink-0 place-items-center text-faint hover:text-ink pointer-coarse:w-8"
    >
      <ChevronRight size={15} className={cx("transition-transform", line.open && "rotate-90")} />
    </span>
  );
}

function Cells({ row, rate, age }: { row: ActorRow; rate: number | null; age: string }) {
  const { t } = useTranslation();
  const speed = rate === null ? "–" : perSecond(rate);
  return (
    <>
      <span role="gridcell" className="col-kind truncate text-soft">
        {row.kind}
      </span>
      <span role="gridcell" className="from-left">
        <StateMark state={row.state} className="-ml-1.5" />
      </span>
      <span role="gridcell" className="col-mailbox">
        <Mailbox row={row} />
      </span>
      <span role="gridcell" className={cx("col-rate number", !rate && "text-faint")}>
        {speed}
      </span>
      <span
        role="gridcell"
        className={cx("col-restarts number", row.restarts === 0 ? "text-faint" : "font-medium text-warn")}
      >
        {row.restarts}
      </span>
      <span
        role="gridcell"
        className="col-error truncate text-xs text-faint"
        title={row.trouble ?? row.last_error}
      >
        {row.trouble ?? row.last_error}
      </span>
      <span role="gridcell" className="col-age number text-faint">
        {age}
      </span>
      <span role="gridcell" className="col-small min-w-0 items-center gap-3 text-xs text-faint tabular-nums">
        <span className="truncate">{row.kind}</span>
        <span className={cx(mailboxFill(row) >= MAILBOX_FULL && "text-warn")}>
          {t("actors.small.mailbox", { depth: depth(row) })}
        </span>
        <span>{t("actors.small.rate", { rate: speed })}</span>
        {row.restarts > 0 && <span className="text-warn">↻ {row.restarts}</span>}
        <span className="ml-auto">{age}</span>
      </span>
    </>
  );
}

function depth(row: ActorRow): string {
  return row.mailbox_limit ? `${row.mailbox}/${row.mailbox_limit}` : String(row.mailbox);
}

function Mailbox({ row }: { row: ActorRow }) {
  const fill = mailboxFill(row);
  const full = fill >= MAILBOX_FULL;
  return (
    <span className="flex items-center gap-2">
      <span
        className={cx(
          "w-16 text-right tabular-nums",
          full ? "font-medium text-warn" : row.mailbox === 0 && "text-faint",
        )}
      >
        {depth(row)}
      </span>
      <span aria-hidden className="h-1.5 w-8 overflow-hidden rounded-full bg-sunken">
        <span
          className={cx("block h-full rounded-full", full ? "bg-warn" : "bg-info")}
          style={{ width: `${Math.min(100, Math.ceil(fill * 100))}%` }}
        />
      </span>
    </span>
  );
}
