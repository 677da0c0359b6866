/** What becomes of the tool calls of one's agents: the policy of this octo, and the rules that it remembers, each of which can be forgotten. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Menu as MenuIcon, ShieldCheck, ShieldQuestion, ShieldX, Trash2 } from "lucide-react";
import { useTranslation } from "react-i18next";
import { mux } from "@/lib/client";
import { clock, duration, folderName } from "@/lib/format";
import { sentence } from "@/lib/sentence";
import { useMuxStatus } from "@/lib/use-mux";
import type { PermissionMode, PermissionPolicy, PermissionRule, Permissions } from "@/lib/wire";
import { Button, IconButton } from "@/ui/Button";
import { sayError, useUi } from "../shell/ui-state";

export const PERMISSIONS_KEY = ["permissions"];
/** Rules are made in dialogs and used by agents meanwhile. */
const LOOK_EVERY_MS = 3_000;

const icons: Record<PermissionMode, { icon: typeof ShieldCheck; tone: string }> = {
  allow: { icon: ShieldCheck, tone: "text-good" },
  ask: { icon: ShieldQuestion, tone: "text-warn" },
  deny: { icon: ShieldX, tone: "text-bad" },
};

export default function PermissionsPage() {
  const { t } = useTranslation();
  const set = useUi((ui) => ui.set);
  const open = useMuxStatus() === "open";
  const { data, error } = useQuery({
    queryKey: PERMISSIONS_KEY,
    queryFn: () => mux.command<Permissions>("_system", "permission.list"),
    enabled: open,
    refetchInterval: LOOK_EVERY_MS,
    retry: false,
  });
  return (
    <div className="flex h-full min-h-0 flex-col" data-testid="permissions">
      <header className="safe-top flex min-h-13 items-center gap-2 border-b px-3 md:px-4">
        <IconButton label={t("shell.openList")} className="md:hidden" onClick={() => set({ drawer: true })}>
          <MenuIcon size={20} />
        </IconButton>
        <h1 className="text-[15px] font-semibold">{t("permissions.title")}</h1>
      </header>
      <div className="safe-x safe-bottom min-h-0 flex-1 overflow-y-auto">
        <div className="mx-auto max-w-3xl py-6">
          {error && <p className="pb-4 text-sm text-bad">{sentence(error.message)}</p>}
          {data && (
            <>
              <Policy policy={data.policy} />
              <Rules rules={data.rules} />
            </>
          )}
        </div>
      </div>
    </div>
  );
}

const HOUR_MS = 3_600_000;

function patience(ms: number): string {
  return ms % HOUR_MS === 0 ? `${ms / HOUR_MS} h` : duration(ms);
}

function Policy({ policy }: { policy: PermissionPolicy }) {
  const { t } = useTranslation();
  const tools = Object.entries(policy.tools);
  return (
    <section aria-label={t("permissions.policy")}>
      <p className="text-pretty">{t(`permissions.default.${policy.default ?? "agent"}`)}</p>
      {tools.length > 0 && (
        <ul className="mt-2 flex flex-wrap gap-2 text-sm">
          {tools.map(([tool, mode]) => (
            <li key={tool} className="flex items-center gap-1.5 rounded-lg bg-sunken px-2.5 py-1">
              <ModeIcon mode={mode} />
              <span className="font-mono text-[12.5px]">{tool}</span>
              <span className="text-soft">{t(`permissions.word.${mode}`)}</span>
            </li>
          ))}
        </ul>
      )}
      <p className="mt-2 text-sm text-soft text-pretty">
        {policy.timeout_ms === undefined
          ? t("permissions.noTimeout")
          : t(policy.on_timeout === "allow" ? "permissions.timeoutAllow" : "permissions.timeoutDeny", {
              after: patience(policy.timeout_ms),
            })}{" "}
        {t("permissions.sandbox")}
      </p>
    </section>
  );
}

function Rules({ rules }: { rules: PermissionRule[] }) {
  const { t } = useTranslation();
  return (
    <section aria-label={t("permissions.rules")} className="mt-8">
      <h2 className="text-lg font-semibold tracking-tight">{t("permissions.rules")}</h2>
      {rules.length === 0 ? (
        <p className="mt-2 text-soft text-pretty" data-testid="no-rules">
          {t("permissions.none")}
        </p>
      ) : (
        <ul className="mt-3 divide-y rounded-xl border bg-raised">
          {rules.toReversed().map((rule) => (
            <Rule key={rule.id} rule={rule} />
          ))}
        </ul>
      )}
    </section>
  );
}

function Rule({ rule }: { rule: PermissionRule }) {
  const { t, i18n } = useTranslation();
  const client = useQueryClient();
  const remove = () =>
    mux
      .command("_system", "permission.remove", { rule_id: rule.id })
      .catch(sayError)
      .finally(() => client.invalidateQueries({ queryKey: PERMISSIONS_KEY }));
  const used =
    rule.last_used_at === undefined
      ? t("permissions.unused")
      : t("permissions.used", { count: rule.uses, at: clock(rule.last_used_at, i18n.language) });
  return (
    <li className="flex items-start gap-3 px-3 py-2.5" data-testid="rule" data-mode={rule.mode}>
      <span className="mt-1">
        <ModeIcon mode={rule.mode} />
      </span>
      <div className="min-w-0 flex-1">
        <p className="[overflow-wrap:anywhere]">
          <span className="font-medium">{t(`permissions.rule.${rule.mode}`)}</span>{" "}
          {rule.tool ? <span className="font-mono text-[13px]">{rule.tool}</span> : t("permissions.anyTool")}
          {rule.workspace && (
            <span className="text-soft" title={rule.workspace}>
              {" "}
              {t("permissions.in", { folder: folderName(rule.workspace) })}
            </span>
          )}
        </p>
        {rule.subject && (
          <p className="mt-1 max-h-24 overflow-y-auto rounded-lg bg-sunken px-2.5 py-1.5 font-mono text-[12.5px] whitespace-pre-wrap [overflow-wrap:anywhere]">
            {rule.subject}
          </p>
        )}
        <p className="mt-1 text-xs text-faint">
          {used}
          {rule.expires_at !== undefined &&
            ` · ${t("permissions.until", { at: clock(rule.expires_at, i18n.language) })}`}
        </p>
      </div>
      <Button tone="quiet" className="shrink-0 px-2" aria-label={t("permissions.forget")} onClick={remove}>
        <Trash2 size={15} />
        <span className="max-sm:sr-only">{t("permissions.forget")}</span>
      </Button>
    </li>
  );
}

function ModeIcon({ mode }: { mode: PermissionMode }) {
  const { icon: Icon, tone } = icons[mode];
  return <Icon size={16} className={`shrink-0 ${tone}`} aria-hidden />;
}
