/** One actor: how it stands, what it says of itself, its messages; and a restart where one may. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Copy, MessageSquare, RotateCw, X } from "lucide-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { hasEventPath } from "@/lib/actors/event-path";
import type { Actor, ActorTable } from "@/lib/actors/table";
import { ApiError, request } from "@/lib/api";
import { age, duration, perSecond } from "@/lib/format";
import { sentence } from "@/lib/sentence";
import type { Inspection } from "@/lib/wire";
import { Button, IconButton } from "@/ui/Button";
import { say, sayError } from "../shell/ui-state";
import { ConfirmRestart } from "./ConfirmRestart";
import { EventPathView } from "./EventPathView";
import { JsonTree } from "./JsonTree";
import { Sparkline, useSamples } from "./Sparkline";
import { StateMark } from "./StateMark";
import { TraceView } from "./TraceView";

/** How often an open panel asks for the snapshot. Asking costs the actor nothing. */
const INSPECT_MS = 2_000;

interface Props {
  path: string;
  table: ActorTable;
  /** Octo's time. */
  now: number;
  /** Whose own sessions can be gone to. */
  userId: string;
  onClose: () => void;
}

export function ActorPanel({ path, table, now, userId, onClose }: Props) {
  const { t } = useTranslation();
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const actor = table.actors.get(path) ?? null;
  const { data, error, refetch } = useQuery({
    queryKey: ["actor", path],
    queryFn: () => request<Inspection>("GET", `/actors/inspect?path=${encodeURIComponent(path)}`),
    refetchInterval: INSPECT_MS,
    retry: false,
    gcTime: 0,
  });
  const row = actor?.row ?? data?.row ?? null;
  const session = ownSession(path, userId);

  async function restart() {
    setAsking(false);
    setBusy(true);
    try {
      await request("POST", "/actors/restart", { path });
      say(t("actors.restart.done", { path }));
    } catch (error) {
      sayError(error);
    } finally {
      setBusy(false);
      void refetch();
    }
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(path);
      say(t("copied"));
    } catch {
      say(t("copyFailed"));
    }
  }

  return (
    <div className="flex h-full min-h-0 flex-col" data-testid="actor-panel" data-path={path}>
      <header className="flex items-start gap-1 border-b px-4 py-2.5">
        <div className="min-w-0 flex-1">
          <h2 className="font-mono text-sm font-semibold break-all">{path}</h2>
          <div className="mt-1 flex flex-wrap items-center gap-2 text-sm text-soft">
            {row && <StateMark state={actor ? row.state : "stopped"} />}
            {row && <span>{row.kind}</span>}
          </div>
        </div>
        <IconButton label={t("actors.panel.copy")} onClick={() => void copy()}>
          <Copy size={15} />
        </IconButton>
        <IconButton label={t("close")} data-testid="panel-close" onClick={onClose}>
          <X size={17} />
        </IconButton>
      </header>
      <div className="safe-bottom flex min-h-0 flex-1 flex-col gap-5 overflow-y-auto px-4 py-4" tabIndex={0}>
        {!actor && table.filled && (
          <p role="status" className="rounded-lg bg-sunken px-3 py-2 text-sm">
            {t("actors.panel.gone")}
          </p>
        )}
        {actor && <Facts actor={actor} table={table} now={now} />}
        {row?.trouble && (
          <section aria-label={t("actors.panel.trouble")}>
            <h3 className="mb-1 text-sm font-semibold">{t("actors.panel.trouble")}</h3>
            <p
              data-testid="panel-trouble"
              className="rounded-lg bg-bad-wash px-3 py-2 text-sm break-words text-bad"
            >
              {row.trouble}
            </p>
          </section>
        )}
        {row?.last_error && (
          <section aria-label={t("actors.panel.error")}>
            <h3 className="mb-1 text-sm font-semibold">{t("actors.panel.error")}</h3>
            <pre
              data-testid="panel-error"
              className="max-h-48 overflow-y-auto rounded-lg bg-bad-wash px-3 py-2 font-mono text-xs break-words whitespace-pre-wrap text-bad"
            >
              {data?.row.last_error ?? row.last_error}
            </pre>
          </section>
        )}
        <div className="flex flex-wrap items-center gap-2">
          <Button
            data-testid="restart"
            disabled={busy || !actor || data?.may_restart !== true}
            onClick={() => setAsking(true)}
          >
            <RotateCw size={15} className={busy ? "animate-spin" : undefined} />
            {busy ? t("actors.restart.busy") : t("actors.restart.open")}
          </Button>
          {session && (
            <Link
              to="/s/$sessionId"
              params={{ sessionId: session }}
              className="inline-flex h-9 items-center gap-2 rounded-lg px-3 text-sm text-soft hover:bg-sunken hover:text-ink pointer-coarse:h-11"
            >
              <MessageSquare size={15} />
              {t("actors.panel.session")}
            </Link>
          )}
          {data?.may_restart === false && (
            <p className="text-xs text-faint">{t("actors.restart.notYours")}</p>
          )}
        </div>
        <Snapshot data={data} error={error} />
        {hasEventPath(path) && <EventPathView key={`events ${path}`} path={path} />}
        <TraceView key={path} path={path} />
      </div>
      {asking && row && (
        <ConfirmRestart
          path={path}
          kind={row.kind}
          onConfirm={() => void restart()}
          onClose={() => setAsking(false)}
        />
      )}
    </div>
  );
}

function Facts({ actor, table, now }: { actor: Actor; table: ActorTable; now: number }) {
  const { t } = useTranslation();
  const { row } = actor;
  const rate = table.rate(actor);
  const samples = useSamples(row.path, table.at, rate);
  const facts: [string, string][] = [
    [
      t("actors.column.mailbox"),
      row.mailbox_limit ? `${row.mailbox} / ${row.mailbox_limit}` : String(row.mailbox),
    ],
    [t("actors.panel.handled"), new Intl.NumberFormat().format(row.processed)],
    [t("actors.column.restarts"), String(row.restarts)],
    [t("actors.column.age"), age(now - row.started_at)],
  ];
  if (row.busy_with) {
    facts.push([t("actors.panel.busy"), `${row.busy_with} · ${duration(row.busy_ms ?? 0)}`]);
  }
  return (
    <div>
      <div className="mb-3 flex items-end gap-3">
        <div className="w-20 shrink-0">
          <div className="text-xs text-faint">{t("actors.column.rate")}</div>
          <div className="text-xl font-semibold tabular-nums">{rate === null ? "–" : perSecond(rate)}</div>
        </div>
        <Sparkline samples={samples} label={t("actors.panel.rates")} />
      </div>
      <dl className="grid grid-cols-2 gap-x-4 gap-y-2 text-sm sm:grid-cols-4">
        {facts.map(([name, value]) => (
          <div key={name} className="min-w-0">
            <dt className="truncate text-xs text-faint">{name}</dt>
            <dd className="truncate tabular-nums" title={value}>
              {value}
            </dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function Snapshot({ data, error }: { data: Inspection | undefined; error: Error | null }) {
  const { t } = useTranslation();
  const missing = error instanceof ApiError ? error : null;
  return (
    <section aria-label={t("actors.panel.snapshot")} data-testid="snapshot">
      <div className="mb-1 flex items-baseline gap-2">
        <h3 className="text-sm font-semibold">{t("actors.panel.snapshot")}</h3>
        {data?.age_ms !== undefined && !missing && (
          <span className="text-xs text-faint tabular-nums">
            {t("actors.panel.age", { age: age(data.age_ms) })}
          </span>
        )}
      </div>
      {missing ? (
        <p className="text-sm text-warn">{sentence(missing.message)}</p>
      ) : !data ? (
        <p className="text-sm text-faint">{t("loading")}</p>
      ) : data.snapshot === null ? (
        <p className="text-sm text-faint">{t("actors.panel.silent")}</p>
      ) : (
        <JsonTree value={data.snapshot} />
      )}
    </section>
  );
}

/** The session that an actor belongs to, when it is the person's own. */
function ownSession(path: string, userId: string): string | null {
  const parts = path.split("/");
  if (parts[1] !== "users" || parts[2] !== userId) return null;
  const at = parts[3] === "runner" ? 4 : 3;
  return parts[at] === "sessions" ? (parts[at + 1] ?? null) : null;
}
