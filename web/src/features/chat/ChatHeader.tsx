import { useQuery } from "@tanstack/react-query";
import { Brain, ChevronDown, Cpu, Menu as MenuIcon, Shield, ShieldQuestion, ShieldX } from "lucide-react";
import { useTranslation } from "react-i18next";
import { mux } from "@/lib/client";
import { cost, folderName, tokens } from "@/lib/format";
import type { Feed, FeedView } from "@/lib/session/feed";
import { totalUsage } from "@/lib/session/timeline";
import { sessionsQuery } from "@/lib/sessions";
import { useMuxStatus } from "@/lib/use-mux";
import type { PermissionMode, ThinkingLevel } from "@/lib/wire";
import { Button, IconButton } from "@/ui/Button";
import { Menu, MenuItem, MenuLabel } from "@/ui/Menu";
import { modelHint, modelName } from "../sessions/ModelPicker";
import { sayError, useUi } from "../shell/ui-state";
import { ForkMenu } from "./ForkMenu";
import { useModel } from "./use-model";

const LEVELS: ThinkingLevel[] = ["off", "minimal", "low", "medium", "high", "xhigh"];

export function ChatHeader({ feed, view }: { feed: Feed; view: FeedView }) {
  const { t } = useTranslation();
  const set = useUi((ui) => ui.set);
  const { session } = view;
  const usage = totalUsage(session);
  // The list knows the title of a session whose agent has not spoken yet.
  const open = useMuxStatus() === "open";
  const { data: sessions } = useQuery({ ...sessionsQuery(mux), enabled: open });
  const listed = sessions?.find((summary) => summary.id === feed.id);
  const cwd = session.cwd ?? listed?.cwd;
  const { models, current, name } = useModel(view);

  return (
    <header className="safe-top flex min-h-13 items-center gap-2 border-b px-3 md:px-4">
      <IconButton label={t("shell.openList")} className="md:hidden" onClick={() => set({ drawer: true })}>
        <MenuIcon size={20} />
      </IconButton>
      <div className="min-w-0 flex-1 py-1.5">
        <h1 className="truncate text-[15px] leading-tight font-semibold" data-testid="chat-title">
          {session.title || listed?.title || t("sessions.untitled")}
        </h1>
        <p className="flex gap-2 truncate text-xs text-faint">
          {cwd && (
            <span className="truncate" title={cwd}>
              {folderName(cwd)}
            </span>
          )}
          {usage.input + usage.output > 0 && (
            <span className="tabular-nums max-sm:hidden" title={t("usage.total")} data-testid="usage-total">
              ↑{tokens(usage.input)} ↓{tokens(usage.output)}
              {usage.cost > 0 && ` · ${cost(usage.cost)}`}
            </span>
          )}
          <span className="truncate sm:hidden">{name}</span>
        </p>
      </div>
      <ForkMenu feed={feed} view={view} />
      <PermissionMenu feed={feed} view={view} />
      <ThinkingMenu feed={feed} view={view} />
      <ModelMenu feed={feed} view={view} models={models} current={current} name={name} />
    </header>
  );
}

type ModelProps = { feed: Feed; view: FeedView } & ReturnType<typeof useModel>;

function ModelMenu({ feed, view: { capabilities }, models, current, name }: ModelProps) {
  const { t } = useTranslation();
  const fixed = capabilities !== null && !capabilities.includes("set_model");

  return (
    <Menu
      trigger={
        <Button
          tone="quiet"
          className="max-w-60 min-w-0 px-2 max-sm:w-11"
          data-testid="model-menu"
          aria-label={t("model.choose", { name })}
        >
          <Cpu size={16} className="shrink-0 sm:hidden" />
          <span className="truncate max-sm:hidden">{name}</span>
          <ChevronDown size={14} className="shrink-0 max-sm:hidden" />
        </Button>
      }
    >
      <MenuLabel>{fixed ? t("model.fixed") : t("new.model")}</MenuLabel>
      {(models ?? []).map((model) => (
        <MenuItem
          key={`${model.provider}/${model.id}`}
          checked={model === current}
          hint={modelHint(model)}
          onSelect={() =>
            void feed.command("set_model", { provider: model.provider, model_id: model.id }).catch(sayError)
          }
        >
          {modelName(model, t("model.demo"))}
        </MenuItem>
      ))}
    </Menu>
  );
}

const MODES: PermissionMode[] = ["allow", "ask", "deny"];

function PermissionMenu({ feed, view }: { feed: Feed; view: FeedView }) {
  const { t } = useTranslation();
  const mode = view.session.permissions;
  if (mode === null || !view.capabilities?.includes("set_permissions")) return null;
  const Icon = mode === "allow" ? Shield : mode === "ask" ? ShieldQuestion : ShieldX;
  return (
    <Menu
      trigger={
        <Button
          tone="quiet"
          className="px-2"
          data-testid="permission-menu"
          data-mode={mode}
          aria-label={t("permissions.choose", { mode: t(`permissions.mode.${mode}`) })}
        >
          <Icon size={15} />
        </Button>
      }
    >
      <MenuLabel>{t("permissions.menu")}</MenuLabel>
      {MODES.map((choice) => (
        <MenuItem
          key={choice}
          checked={choice === mode}
          onSelect={() => void feed.command("set_permissions", { mode: choice }).catch(sayError)}
        >
          {t(`permissions.mode.${choice}`)}
        </MenuItem>
      ))}
    </Menu>
  );
}

function ThinkingMenu({ feed, view }: { feed: Feed; view: FeedView }) {
  const { t } = useTranslation();
  const { thinkingLevel } = view.session;
  const able = view.capabilities === null || view.capabilities.includes("set_thinking_level");
  if (!able || thinkingLevel === null) return null;
  return (
    <Menu
      trigger={
        <Button
          tone="quiet"
          className="px-2"
          aria-label={t("level.choose", { level: t(`level.${thinkingLevel}`) })}
        >
          <Brain size={15} />
          <span className="max-sm:sr-only">{t(`level.${thinkingLevel}`)}</span>
        </Button>
      }
    >
      <MenuLabel>{t("level.title")}</MenuLabel>
      {LEVELS.map((level) => (
        <MenuItem
          key={level}
          checked={level === thinkingLevel}
          onSelect={() => void feed.command("set_thinking_level", { level }).catch(sayError)}
        >
          {t(`level.${level}`)}
        </MenuItem>
      ))}
    </Menu>
  );
}
