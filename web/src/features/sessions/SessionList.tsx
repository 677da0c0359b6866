import { useQuery } from "@tanstack/react-query";
import { FolderOpen, Plus, X } from "lucide-react";
import { useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { mux } from "@/lib/client";
import { folderName } from "@/lib/format";
import { groupByFolder, sessionsQuery } from "@/lib/sessions";
import { useMuxStatus } from "@/lib/use-mux";
import { IconButton } from "@/ui/Button";
import { useUi } from "../shell/ui-state";
import { SessionRow } from "./SessionRow";

/** From this many sessions on, a search field is worth its place. */
const SEARCH_FROM = 6;
const MINUTE_MS = 60_000;

export function SessionList() {
  const { t } = useTranslation();
  const status = useMuxStatus();
  const set = useUi((ui) => ui.set);
  const [filter, setFilter] = useState("");
  const { data: sessions, isError } = useQuery({ ...sessionsQuery(mux), enabled: status === "open" });
  const groups = useMemo(() => groupByFolder(sessions ?? [], filter), [sessions, filter]);
  const now = useMinute();

  return (
    <>
      {(sessions?.length ?? 0) >= SEARCH_FROM && (
        <div className="relative px-3 pb-2">
          <input
            type="search"
            aria-label={t("sessions.filter")}
            placeholder={t("sessions.filter")}
            value={filter}
            onChange={(event) => setFilter(event.target.value)}
            onKeyDown={(event) => {
              if (event.key !== "Escape") return;
              event.stopPropagation();
              setFilter("");
            }}
            className="h-8 w-full rounded-lg border bg-surface px-2.5 text-sm [&::-webkit-search-cancel-button]:hidden"
          />
          {filter && (
            <IconButton label={t("clear")} className="absolute top-0 right-3" onClick={() => setFilter("")}>
              <X size={14} />
            </IconButton>
          )}
        </div>
      )}
      <div className="min-h-0 flex-1 overflow-y-auto px-2 pb-4" data-testid="session-list">
        {groups.map((group) => (
          <section key={group.cwd} className="group/folder mt-2" aria-label={group.cwd}>
            <div className="flex h-7 items-center gap-1.5 px-2 text-xs text-faint">
              <FolderOpen size={13} className="shrink-0" />
              <h3 className="truncate font-medium" title={group.cwd}>
                {folderName(group.cwd) || t("sessions.noFolder")}
              </h3>
              <div className="flex-1" />
              <IconButton
                label={t("sessions.newIn", { folder: folderName(group.cwd) })}
                className="size-6 opacity-0 group-hover/folder:opacity-100 focus-visible:opacity-100 pointer-coarse:opacity-100"
                onClick={() => set({ newSession: { cwd: group.cwd }, drawer: false })}
              >
                <Plus size={14} />
              </IconButton>
            </div>
            <ul>
              {group.sessions.map((session) => (
                <SessionRow key={session.id} session={session} now={now} />
              ))}
            </ul>
          </section>
        ))}
        {sessions && groups.length === 0 && (
          <p className="px-3 py-6 text-sm text-faint">
            {filter ? t("sessions.noMatch", { filter }) : t("sessions.empty")}
          </p>
        )}
        {isError && !sessions && <p className="px-3 py-6 text-sm text-bad">{t("sessions.failed")}</p>}
      </div>
    </>
  );
}

/** The time, told anew every minute, for the ages in the list. */
function useMinute(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), MINUTE_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}
