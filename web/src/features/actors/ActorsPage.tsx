/** The actors: everything alive in octo and in its users' runners, for admins; one's own part of it for others. */
import { useQuery } from "@tanstack/react-query";
import { Activity, ChevronDown, CloudOff, Lock, Menu as MenuIcon, TriangleAlert } from "lucide-react";
import {
  type ReactNode,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { useTranslation } from "react-i18next";
import { ActorFeed, type ActorView } from "@/lib/actors/feed";
import {
  flatLines,
  isFiltering,
  NO_FILTER,
  Shape,
  type Summary,
  summarise,
  treeLines,
} from "@/lib/actors/lines";
import { meQuery } from "@/lib/auth";
import { mux, schedule } from "@/lib/client";
import { age, perSecond } from "@/lib/format";
import { sentence } from "@/lib/sentence";
import type { LeftOut } from "@/lib/wire";
import { Button, IconButton } from "@/ui/Button";
import { cx } from "@/ui/cx";
import { useUi } from "../shell/ui-state";
import { ActorList } from "./ActorList";
import { ActorPanel } from "./ActorPanel";
import "./actors.css";
import { ChangeLog } from "./ChangeLog";
import { Toolbar } from "./Toolbar";
import { useActorsView } from "./view-state";

/** A look that is older than this is said to be. */
const OLD_MS = 4_000;
const TICK_MS = 1_000;
/** Trees left out that are named one by one. */
const MAX_LEFT_OUT = 3;

interface Props {
  /** The actor that is opened. */
  at: string | null;
  onAt: (path: string | null) => void;
}

export default function ActorsPage({ at, onAt }: Props) {
  const { data: me } = useQuery(meQuery);
  return me ? <Actors userId={me.id} admin={me.role === "admin"} at={at} onAt={onAt} /> : null;
}

/** What was seen stays for when one comes back to the page; another person's is forgotten. */
let kept: { userId: string; feed: ActorFeed } | null = null;

function feedFor(userId: string): ActorFeed {
  if (kept?.userId !== userId) kept = { userId, feed: new ActorFeed(mux, schedule) };
  return kept.feed;
}

function Actors({ userId, admin, at, onAt }: Props & { userId: string; admin: boolean }) {
  const feed = feedFor(userId);
  const view = useSyncExternalStore(feed.subscribe, feed.snapshot);
  useEffect(() => {
    feed.open();
    return () => feed.close();
  }, [feed]);
  return <ActorsView view={view} userId={userId} admin={admin} at={at} onAt={onAt} />;
}

export function ActorsView({
  view,
  userId,
  admin,
  at,
  onAt,
}: Props & { view: ActorView; userId: string; admin: boolean }) {
  const { t } = useTranslation();
  const { table, status } = view;
  const { flat, sort, filter, folded, log, set, narrow, sortBy, fold } = useActorsView();
  const shape = useRef(new Shape()).current;
  const now = useNow() + view.skew;
  // A new view stands for whatever is new in the table.
  // biome-ignore lint/correctness/useExhaustiveDependencies: as said.
  const lines = useMemo(
    () => (flat ? flatLines(table, filter, sort, now) : treeLines(table, shape, filter, folded, now)),
    [view, table, shape, flat, filter, sort, folded, now],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: as said.
  const summary = useMemo(() => summarise(table, now), [view, table, now]);
  const close = useCallback(() => onAt(null), [onAt]);

  useEffect(() => {
    if (at === null) return;
    const onKey = (event: KeyboardEvent) => {
      const elsewhere =
        event.target instanceof HTMLElement && event.target.closest("dialog, input, [role=menu]");
      if (event.key === "Escape" && !elsewhere) close();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [at, close]);

  const branches = () =>
    treeLines(table, shape, NO_FILTER, new Set(), now)
      .filter((line) => line.open !== null && line.level > 1)
      .map((line) => line.path);

  return (
    <div className="relative flex min-h-0 flex-1 flex-col" data-testid="actors" data-status={status}>
      <Head view={view} admin={admin} summary={summary} now={now} />
      {status === "refused" ? (
        <Blank icon={<Lock size={28} />} title={t("actors.refused")} text={sentence(view.error ?? "")} />
      ) : !table.filled ? (
        <Blank busy title={t(status === "connecting" ? "actors.connecting" : "actors.loading")} />
      ) : (
        <>
          <Toolbar summary={summary} branches={branches} />
          <LeftOutNote leftOut={table.leftOut} />
          <div className="flex min-h-0 flex-1">
            <div className="flex min-w-0 flex-1 flex-col">
              {lines.length > 0 ? (
                <ActorList
                  lines={lines}
                  table={table}
                  now={now}
                  flat={flat}
                  sort={sort}
                  filter={filter}
                  selected={at}
                  onSort={sortBy}
                  onOpen={onAt}
                  onFold={fold}
                />
              ) : (
                <Nothing
                  filtering={isFiltering(filter)}
                  onlyWrong={filter.onlyWrong}
                  onAll={() => narrow(NO_FILTER)}
                />
              )}
              <section className="shrink-0 border-t bg-ground">
                <button
                  type="button"
                  aria-expanded={log}
                  data-testid="log-toggle"
                  onClick={() => set({ log: !log })}
                  className="flex h-8 w-full items-center gap-2 px-4 text-xs font-medium text-soft hover:text-ink pointer-coarse:h-11"
                >
                  <ChevronDown
                    size={14}
                    aria-hidden
                    className={cx("transition-transform", !log && "-rotate-90")}
                  />
                  {t("actors.log.title")}
                  <span className="text-faint tabular-nums">{table.changes.length}</span>
                </button>
                {log && <ChangeLog changes={table.changes} onOpen={onAt} className="h-36 border-t md:h-44" />}
              </section>
            </div>
            {at !== null && (
              <aside
                aria-label={t("actors.panel.label", { path: at })}
                className="absolute inset-0 z-20 bg-surface xl:static xl:w-[27rem] xl:shrink-0 xl:border-l"
              >
                <ActorPanel key={at} path={at} table={table} now={now} userId={userId} onClose={close} />
              </aside>
            )}
          </div>
        </>
      )}
    </div>
  );
}

function Head({
  view,
  admin,
  summary,
  now,
}: {
  view: ActorView;
  admin: boolean;
  summary: Summary;
  now: number;
}) {
  const { t } = useTranslation();
  const setUi = useUi((ui) => ui.set);
  const { table, status } = view;
  const old = now - table.at;
  const live = status === "live" && old < OLD_MS;
  return (
    <header className="safe-top flex min-h-13 flex-wrap items-center gap-x-4 gap-y-1 border-b px-3 py-2 md:px-4">
      <IconButton label={t("shell.openList")} className="md:hidden" onClick={() => setUi({ drawer: true })}>
        <MenuIcon size={20} />
      </IconButton>
      <h1 className="text-base font-semibold tracking-tight">
        {t(admin ? "actors.title" : "actors.ownTitle")}
      </h1>
      {table.filled && (
        <ul
          className="flex flex-wrap items-center gap-x-4 text-sm text-soft tabular-nums max-md:order-last max-md:w-full"
          data-testid="summary"
        >
          <li>{t("actors.count", { count: summary.total })}</li>
          <li>{t("actors.messages", { rate: perSecond(summary.rate) })}</li>
          {summary.bad > 0 && (
            <li className="flex items-center gap-1.5 rounded-md bg-bad-wash px-2 py-0.5 font-medium text-bad">
              <TriangleAlert size={14} aria-hidden />
              {t("actors.bad", { count: summary.bad })}
            </li>
          )}
          {summary.warn > 0 && (
            <li className="rounded-md bg-warn-wash px-2 py-0.5 text-warn">
              {t("actors.warn", { count: summary.warn })}
            </li>
          )}
          {summary.bad + summary.warn === 0 && <li className="text-good">{t("actors.well")}</li>}
        </ul>
      )}
      <div className="flex-1" />
      {table.filled && (
        <span
          data-testid="freshness"
          className={cx("flex items-center gap-1.5 text-xs tabular-nums", live ? "text-good" : "text-warn")}
        >
          {live ? <Activity size={14} aria-hidden /> : <CloudOff size={14} aria-hidden />}
          {live ? t("actors.live") : t("actors.from", { age: age(old) })}
        </span>
      )}
    </header>
  );
}

function LeftOutNote({ leftOut }: { leftOut: readonly LeftOut[] }) {
  const { t } = useTranslation();
  if (leftOut.length === 0) return null;
  return (
    <div role="status" data-testid="left-out" className="border-b bg-warn-wash px-4 py-1.5 text-sm text-warn">
      {leftOut.slice(0, MAX_LEFT_OUT).map(({ path, reason }) => (
        <p key={path} className="break-words">
          {t("actors.leftOut", { path, reason })}
        </p>
      ))}
      {leftOut.length > MAX_LEFT_OUT && (
        <p>{t("actors.leftOutMore", { count: leftOut.length - MAX_LEFT_OUT })}</p>
      )}
    </div>
  );
}

function Nothing({
  filtering,
  onlyWrong,
  onAll,
}: {
  filtering: boolean;
  onlyWrong: boolean;
  onAll: () => void;
}) {
  const { t } = useTranslation();
  const title = !filtering ? "actors.none" : onlyWrong ? "actors.nothingWrong" : "actors.noMatch";
  return (
    <Blank title={t(title)}>
      {filtering && (
        <Button className="mt-4" onClick={onAll}>
          {t("actors.showAll")}
        </Button>
      )}
    </Blank>
  );
}

function Blank({
  icon,
  title,
  text,
  busy,
  children,
}: {
  icon?: ReactNode;
  title: string;
  text?: string;
  busy?: boolean;
  children?: ReactNode;
}) {
  return (
    <div
      role="status"
      aria-busy={busy}
      className="grid flex-1 place-items-center p-8 text-center"
      data-testid="actors-blank"
    >
      <div className="max-w-md">
        {icon && <div className="mb-3 flex justify-center text-faint">{icon}</div>}
        <p className={cx("font-medium", busy && "text-faint")}>{title}</p>
        {text && <p className="mt-1 text-soft">{text}</p>}
        {children}
      </div>
    </div>
  );
}

/** The time, told anew every second, for ages. */
function useNow(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}
