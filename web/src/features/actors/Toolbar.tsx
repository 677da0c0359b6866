/** What of the actors is shown, and how. */
import {
  ChevronsDownUp,
  ChevronsUpDown,
  ListOrdered,
  ListTree,
  Search,
  TriangleAlert,
  X,
} from "lucide-react";
import { type ReactNode, useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Summary } from "@/lib/actors/lines";
import { Button, IconButton } from "@/ui/Button";
import { cx } from "@/ui/cx";
import { Menu, MenuItem } from "@/ui/Menu";
import { STATES, useStateWord } from "./StateMark";
import { toggled, useActorsView } from "./view-state";

export function Toolbar({ summary, branches }: { summary: Summary; branches: () => string[] }) {
  const { t } = useTranslation();
  const word = useStateWord();
  const { flat, filter, folded, set, narrow } = useActorsView();
  const field = useRef<HTMLInputElement>(null);
  const kinds = [...summary.kinds].sort(([a], [b]) => (a < b ? -1 : 1));
  const states = STATES.filter((state) => summary.states.has(state) || filter.states.has(state));

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea, dialog");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      field.current?.focus();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);

  return (
    <div
      className="flex flex-wrap items-center gap-2 border-b px-3 py-2 md:px-4"
      role="toolbar"
      aria-label={t("actors.tools")}
    >
      <div className="relative min-w-40 flex-1 md:max-w-80">
        <Search
          size={15}
          aria-hidden
          className="pointer-events-none absolute top-1/2 left-2.5 -translate-y-1/2 text-faint"
        />
        <input
          ref={field}
          type="search"
          data-testid="actor-filter"
          aria-label={t("actors.filter")}
          placeholder={t("actors.filter")}
          value={filter.text}
          onChange={(event) => narrow({ text: event.target.value })}
          onKeyDown={(event) => {
            if (event.key !== "Escape") return;
            event.stopPropagation();
            narrow({ text: "" });
          }}
          className="h-9 w-full rounded-lg border bg-raised pr-8 pl-8 text-sm pointer-coarse:h-11 [&::-webkit-search-cancel-button]:hidden"
        />
        {filter.text && (
          <IconButton
            label={t("clear")}
            className="absolute top-1/2 right-0.5 -translate-y-1/2"
            onClick={() => narrow({ text: "" })}
          >
            <X size={14} />
          </IconButton>
        )}
      </div>
      <fieldset className="relative flex shrink-0 md:order-last rounded-lg border bg-raised p-0.5">
        <legend className="sr-only">{t("actors.view")}</legend>
        <Segment pressed={!flat} testId="view-tree" onPress={() => set({ flat: false })}>
          <ListTree size={15} aria-hidden />
          <span className="max-md:sr-only">{t("actors.tree")}</span>
        </Segment>
        <Segment pressed={flat} testId="view-top" onPress={() => set({ flat: true })}>
          <ListOrdered size={15} aria-hidden />
          <span className="max-md:sr-only">{t("actors.top")}</span>
        </Segment>
      </fieldset>
      <div className="relative flex min-w-0 flex-1 items-center gap-2 max-md:w-full max-md:flex-none max-md:overflow-x-auto">
        <Toggle
          pressed={filter.onlyWrong}
          testId="only-wrong"
          onPress={() => narrow({ onlyWrong: !filter.onlyWrong })}
        >
          <TriangleAlert size={15} aria-hidden />
          {t("actors.onlyWrong")}
          <span className="tabular-nums">{summary.bad + summary.warn}</span>
        </Toggle>
        <Choice
          label={t("actors.column.state")}
          chosen={filter.states}
          testId="filter-state"
          onClear={() => narrow({ states: new Set() })}
        >
          {states.map((state) => (
            <MenuItem
              key={state}
              checked={filter.states.has(state)}
              hint={summary.states.get(state) ?? 0}
              onSelect={() => narrow({ states: toggled(filter.states, state) })}
            >
              {word(state)}
            </MenuItem>
          ))}
        </Choice>
        <Choice
          label={t("actors.column.kind")}
          chosen={filter.kinds}
          testId="filter-kind"
          onClear={() => narrow({ kinds: new Set() })}
        >
          {kinds.map(([kind, count]) => (
            <MenuItem
              key={kind}
              checked={filter.kinds.has(kind)}
              hint={count}
              onSelect={() => narrow({ kinds: toggled(filter.kinds, kind) })}
            >
              {kind}
            </MenuItem>
          ))}
        </Choice>
        <div className="flex-1 max-md:hidden" />
        {!flat && (
          <IconButton
            label={folded.size > 0 ? t("actors.unfold") : t("actors.fold")}
            data-testid="fold-all"
            className="max-md:hidden"
            onClick={() => set({ folded: folded.size > 0 ? new Set() : new Set(branches()) })}
          >
            {folded.size > 0 ? <ChevronsUpDown size={17} /> : <ChevronsDownUp size={17} />}
          </IconButton>
        )}
      </div>
    </div>
  );
}

interface Press {
  pressed: boolean;
  testId: string;
  onPress: () => void;
  children: ReactNode;
}

function Toggle({ pressed, testId, onPress, children }: Press) {
  return (
    <Button
      aria-pressed={pressed}
      data-testid={testId}
      onClick={onPress}
      tone={pressed ? "danger" : "plain"}
      className="px-3 font-normal"
    >
      {children}
    </Button>
  );
}

function Segment({ pressed, testId, onPress, children }: Press) {
  return (
    <button
      type="button"
      aria-pressed={pressed}
      data-testid={testId}
      onClick={onPress}
      className={cx(
        "relative flex h-7.5 items-center gap-1.5 rounded-md px-2.5 text-sm pointer-coarse:h-10",
        pressed ? "bg-sunken font-medium text-ink" : "text-soft hover:text-ink",
      )}
    >
      {children}
    </button>
  );
}

function Choice({
  label,
  chosen,
  testId,
  onClear,
  children,
}: {
  label: string;
  chosen: ReadonlySet<string>;
  testId: string;
  onClear: () => void;
  children: ReactNode;
}) {
  const { t } = useTranslation();
  return (
    <Menu
      align="start"
      trigger={
        <Button
          data-testid={testId}
          className={cx("px-3 font-normal", chosen.size > 0 && "border-focus! text-info!")}
        >
          {label}
          {chosen.size > 0 && <span className="tabular-nums">· {chosen.size}</span>}
        </Button>
      }
    >
      {chosen.size > 0 && <MenuItem onSelect={onClear}>{t("actors.all")}</MenuItem>}
      {children}
    </Menu>
  );
}
