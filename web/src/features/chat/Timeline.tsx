/**
 * The conversation. Only what is near the screen is in the page; the list is anchored at its end, so it
 * follows a streaming answer, and stays where it is once somebody scrolls up or older messages arrive.
 */
import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDown } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Feed, FeedView } from "@/lib/session/feed";
import { type Row, rowsOf } from "@/lib/session/timeline";
import { sayError } from "../shell/ui-state";
import { AgentRow } from "./AgentRow";
import { NoticeRow } from "./NoticeRow";
import { RemovedRow } from "./RemovedRow";
import { ShellRow } from "./ShellRow";
import { PendingRow, UserRow } from "./UserRow";

/** This close to the end still counts as being there. */
const AT_END_PX = 80;
/** This close to the beginning, older messages are fetched. */
const LOAD_OLDER_PX = 600;
const GUESS_PX = { removed: 64, user: 72, agent: 180, notice: 28, pending: 88, shell: 120 };
const GAP_PX = 20;

interface Props {
  feed: Feed;
  view: FeedView;
  onEdit: (text: string) => void;
}

export function Timeline({ feed, view, onEdit }: Props) {
  const { t } = useTranslation();
  const scroller = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  const rows = useMemo(() => rowsOf(view), [view]);
  const { tools, activity } = view.session;

  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    getItemKey: (index) => rows[index]?.key ?? index,
    estimateSize: (index) => GUESS_PX[rows[index]?.kind ?? "agent"],
    gap: GAP_PX,
    overscan: 6,
    paddingStart: 28,
    paddingEnd: 28,
    anchorTo: "end",
    followOnAppend: true,
    scrollEndThreshold: AT_END_PX,
  });

  // The first rows are shown from their end on.
  const filled = rows.length > 0;
  useEffect(() => {
    if (filled) virtualizer.scrollToEnd();
  }, [filled, virtualizer]);

  // Whoever reads the end keeps it in sight when a panel opens below it, or the keyboard of a phone.
  const following = useRef(true);
  following.current = atEnd;
  useEffect(() => {
    const element = scroller.current;
    if (!element || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(() => {
      if (following.current) virtualizer.scrollToEnd();
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [virtualizer]);

  // What one sends oneself one wants to see.
  const sending = view.outbox.at(-1)?.clientId;
  useEffect(() => {
    if (sending) virtualizer.scrollToEnd();
  }, [sending, virtualizer]);

  function onScroll() {
    const element = scroller.current;
    if (!element) return;
    setAtEnd(element.scrollHeight - element.scrollTop - element.clientHeight <= AT_END_PX);
    if (element.scrollTop < LOAD_OLDER_PX && view.session.hasMore) feed.loadOlder().catch(sayError);
  }

  return (
    <div className="relative min-h-0 flex-1">
      <div
        ref={scroller}
        onScroll={onScroll}
        role="log"
        aria-live="off"
        aria-label={t("chat.log")}
        data-testid="timeline"
        tabIndex={0}
        className="safe-x h-full overflow-y-auto overscroll-contain -outline-offset-2 [overflow-anchor:none]"
      >
        {view.loadingOlder && (
          <p className="sticky top-2 z-10 text-center text-xs text-faint">{t("chat.older")}</p>
        )}
        <div className="relative mx-auto max-w-3xl" style={{ height: virtualizer.getTotalSize() }}>
          {virtualizer.getVirtualItems().map((item) => {
            const row = rows[item.index];
            return (
              row && (
                <div
                  key={item.key}
                  data-index={item.index}
                  ref={virtualizer.measureElement}
                  className="absolute inset-x-0 top-0"
                  style={{ transform: `translateY(${item.start}px)` }}
                >
                  <RowView
                    row={row}
                    tools={tools}
                    working={activity === "working"}
                    feed={feed}
                    onEdit={onEdit}
                  />
                </div>
              )
            );
          })}
        </div>
      </div>
      <Announcer rows={rows} />
      {!atEnd && (
        <button
          type="button"
          onClick={() => virtualizer.scrollToEnd()}
          className="rise absolute bottom-3 left-1/2 flex h-8 -translate-x-1/2 items-center gap-1.5 rounded-full border bg-raised px-3.5 text-sm text-soft shadow-lg shadow-(color:--shadow) hover:text-ink pointer-coarse:h-10"
        >
          <ArrowDown size={14} />
          {t("chat.latest")}
        </button>
      )}
    </div>
  );
}

type RowProps = Omit<Props, "view"> & { row: Row; tools: FeedView["session"]["tools"]; working: boolean };

function RowView({ row, tools, working, feed, onEdit }: RowProps) {
  switch (row.kind) {
    case "user":
      return <UserRow message={row.message} />;
    case "agent":
      return (
        <AgentRow
          message={row.message}
          live={row.live}
          first={row.first}
          last={row.last}
          working={working}
          tools={tools}
        />
      );
    case "removed":
      return <RemovedRow removed={row.removed} />;
    case "notice":
      return <NoticeRow notice={row.notice} text={row.text} />;
    case "shell":
      return <ShellRow run={row.run} feed={feed} />;
    case "pending":
      return <PendingRow pending={row.pending} feed={feed} onEdit={onEdit} />;
  }
}

const SPOKEN_LENGTH = 600;

/** Reads finished messages out, once each; a streaming one would be read letter by letter. */
function Announcer({ rows }: { rows: Row[] }) {
  const last = rows.findLast((row) => row.kind === "agent" && row.message !== undefined);
  const key = last?.key ?? "";
  const opened = useRef<string | null>(null);
  // What was there when the conversation was opened is not news.
  if (rows.length > 0) opened.current ??= key;
  const parts = last?.kind === "agent" ? (last.message?.parts ?? []) : [];
  const text = parts.map((part) => ("text" in part ? String(part.text) : "")).join(" ");
  return (
    <div className="sr-only" aria-live="polite" data-testid="announcer">
      {opened.current !== null && key !== opened.current && text.slice(0, SPOKEN_LENGTH)}
    </div>
  );
}
