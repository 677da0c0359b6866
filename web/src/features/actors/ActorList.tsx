// biome-ignore-all lint/a11y/useSemanticElements: a table can be neither virtual nor a tree.
// biome-ignore-all lint/a11y/noStaticElementInteractions: the list has the role of a grid or of a tree.
// biome-ignore-all lint/a11y/useAriaPropsSupportedByRole: as above.
// biome-ignore-all lint/a11y/useFocusableInteractive: one focus, that of the grid around them, is for all cells.
/**
 * The actors, as a tree or as a flat list. Only the lines near the screen are in the page; one focus is
 * enough for all of them: the arrows move it, left and right fold, Enter opens.
 */
import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDown, ArrowUp } from "lucide-react";
import { type KeyboardEvent, useCallback, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Filter, Line, Sort, SortKey } from "@/lib/actors/lines";
import type { ActorTable } from "@/lib/actors/table";
import { age } from "@/lib/format";
import { cx } from "@/ui/cx";
import { ActorLine } from "./ActorLine";

const LINE_PX = 34;
/** The names of the columns stay in sight above the lines. */
const HEAD_PX = 32;
/** On a phone a line has two rows. */
const TALL_LINE_PX = 58;
/** Below this width the columns do not fit; `actors.css` says the same in rem. */
const NARROW_PX = 576;
/** A change is shown for so long. */
const FLASH_MS = 2_600;

const COLUMNS: { by: SortKey; className: string; number?: boolean }[] = [
  { by: "path", className: "" },
  { by: "kind", className: "col-kind" },
  { by: "state", className: "" },
  { by: "mailbox", className: "col-mailbox" },
  { by: "rate", className: "col-rate", number: true },
  { by: "restarts", className: "col-restarts", number: true },
  { by: "error", className: "col-error" },
  { by: "age", className: "col-age", number: true },
];

interface Props {
  lines: Line[];
  table: ActorTable;
  /** Octo's time. */
  now: number;
  flat: boolean;
  sort: Sort;
  /** What is looked for; with another one the list begins at its beginning. */
  filter: Filter;
  selected: string | null;
  onSort: (by: SortKey) => void;
  onOpen: (path: string) => void;
  onFold: (path: string) => void;
}

export function ActorList({
  lines,
  table,
  now,
  flat,
  sort,
  filter,
  selected,
  onSort,
  onOpen,
  onFold,
}: Props) {
  const { t } = useTranslation();
  const scroller = useRef<HTMLDivElement>(null);
  const narrow = useNarrow(scroller);
  const [active, setActive] = useState<string | null>(null);
  const size = narrow ? TALL_LINE_PX : LINE_PX;

  const virtualizer = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    getItemKey: (index) => lines[index]?.path ?? index,
    estimateSize: () => size,
    overscan: 8,
    scrollMargin: narrow ? 0 : HEAD_PX,
    scrollPaddingStart: narrow ? 0 : HEAD_PX,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: another height of lines is measured anew.
  useEffect(() => virtualizer.measure(), [size, virtualizer]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: these decide which lines there are.
  useEffect(() => {
    // In newer browsers it gives a promise, which is no clean-up.
    scroller.current?.scrollTo({ top: 0 });
  }, [filter, flat, sort]);

  const open = useCallback(
    (path: string) => {
      setActive(path);
      onOpen(path);
    },
    [onOpen],
  );

  const at = active === null ? -1 : lines.findIndex((line) => line.path === active);

  function go(to: number): void {
    const index = Math.max(0, Math.min(lines.length - 1, to));
    const line = lines[index];
    if (!line) return;
    setActive(line.path);
    virtualizer.scrollToIndex(index);
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
    if (press(event.key)) event.preventDefault();
  }

  /** What a key does; false when it does nothing here. */
  function press(key: string): boolean {
    const line = lines[at];
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 0) / size) - 2);
    switch (key) {
      case "ArrowDown":
        go(at + 1);
        return true;
      case "ArrowUp":
        go(at - 1);
        return true;
      case "PageDown":
        go(at + page);
        return true;
      case "PageUp":
        go(at - page);
        return true;
      case "Home":
        go(0);
        return true;
      case "End":
        go(lines.length - 1);
        return true;
      case "ArrowRight":
        if (line?.open === false) onFold(line.path);
        else if (line?.open) go(at + 1);
        return true;
      case "ArrowLeft":
        if (line?.open) onFold(line.path);
        else if (line && !flat) go(parentOf(lines, at));
        return true;
      case "Enter":
      case " ":
        if (line) (line.actor ? open : onFold)(line.path);
        return true;
      default:
        return false;
    }
  }

  return (
    <div className="actor-list flex min-h-0 min-w-0 flex-1 flex-col">
      {narrow && flat && <SmallHead sort={sort} onSort={onSort} />}
      <div
        ref={scroller}
        role={flat ? "grid" : "treegrid"}
        tabIndex={0}
        aria-label={t("actors.list")}
        aria-rowcount={lines.length + (narrow ? 0 : 1)}
        aria-activedescendant={at < 0 ? undefined : lineId(lines[at] as Line)}
        onKeyDown={onKeyDown}
        onFocus={() => active === null && setActive(selected ?? lines[0]?.path ?? null)}
        data-testid="actor-list"
        className="min-h-0 flex-1 overflow-y-auto overscroll-contain -outline-offset-2"
      >
        {!narrow && <Head flat={flat} sort={sort} onSort={onSort} />}
        <div role="rowgroup" className="relative" style={{ height: virtualizer.getTotalSize() }}>
          {virtualizer.getVirtualItems().map((item) => {
            const line = lines[item.index];
            if (!line) return null;
            const { actor } = line;
            const change = actor?.change ?? null;
            const fresh = change !== null && table.at - change.at < FLASH_MS;
            return (
              <div
                key={item.key}
                role="presentation"
                className="absolute inset-x-0 top-0"
                style={{
                  height: item.size,
                  transform: `translateY(${item.start - (narrow ? 0 : HEAD_PX)}px)`,
                }}
              >
                <ActorLine
                  id={lineId(line)}
                  line={line}
                  flat={flat}
                  rate={actor && table.rate(actor)}
                  age={actor ? age(now - actor.row.started_at) : ""}
                  active={item.index === at}
                  selected={line.path === selected}
                  flash={fresh ? change.id : null}
                  flashKind={fresh ? change.what : null}
                  row={item.index + (narrow ? 1 : 2)}
                  onOpen={open}
                  onFold={onFold}
                />
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

function Head({ flat, sort, onSort }: { flat: boolean; sort: Sort; onSort: (by: SortKey) => void }) {
  const { t } = useTranslation();
  const Arrow = sort.down ? ArrowDown : ArrowUp;
  const order = sort.down ? "descending" : "ascending";
  return (
    <div
      role="row"
      aria-rowindex={1}
      data-testid="actor-head"
      style={{ height: HEAD_PX }}
      className="actor-line sticky top-0 z-10 border-b bg-ground text-xs font-medium text-faint"
    >
      {COLUMNS.map(({ by, className, number }) => {
        const text = t(`actors.column.${by as "path"}`);
        const chosen = flat && sort.by === by;
        return (
          <span
            key={by}
            role="columnheader"
            aria-sort={chosen ? order : undefined}
            className={cx(className, number && "number", "min-w-0 truncate")}
          >
            {flat ? (
              <button
                type="button"
                data-testid={`sort-${by}`}
                aria-label={t("actors.sort", { column: text })}
                onClick={() => onSort(by)}
                className={cx("inline-flex items-center gap-0.5 hover:text-ink", chosen && "text-ink")}
              >
                {text}
                {chosen && <Arrow size={12} aria-hidden className="shrink-0" />}
              </button>
            ) : (
              text
            )}
          </span>
        );
      })}
    </div>
  );
}

/** The order, where there is no room for columns. */
function SmallHead({ sort, onSort }: { sort: Sort; onSort: (by: SortKey) => void }) {
  const { t } = useTranslation();
  const Arrow = sort.down ? ArrowDown : ArrowUp;
  return (
    <div className="flex shrink-0 gap-1 overflow-x-auto border-b bg-ground px-2 py-1 text-xs" tabIndex={0}>
      {COLUMNS.map(({ by }) => (
        <button
          key={by}
          type="button"
          aria-pressed={sort.by === by}
          onClick={() => onSort(by)}
          className={cx(
            "flex h-9 shrink-0 items-center gap-1 rounded-lg px-2.5",
            sort.by === by ? "bg-sunken font-medium text-ink" : "text-soft",
          )}
        >
          {t(`actors.column.${by as "path"}`)}
          {sort.by === by && <Arrow size={12} aria-hidden />}
        </button>
      ))}
    </div>
  );
}

function lineId(line: Line): string {
  return `actor-${line.path}`;
}

function parentOf(lines: Line[], at: number): number {
  const level = lines[at]?.level ?? 1;
  for (let n = at - 1; n >= 0; n -= 1) if ((lines[n] as Line).level < level) return n;
  return at;
}

/** Whether the columns do not fit. */
function useNarrow(ref: { current: HTMLElement | null }): boolean {
  const [narrow, setNarrow] = useState(() => window.innerWidth < NARROW_PX);
  useEffect(() => {
    const element = ref.current;
    if (!element || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(() => setNarrow(element.clientWidth < NARROW_PX));
    observer.observe(element);
    return () => observer.disconnect();
  }, [ref]);
  return narrow;
}
