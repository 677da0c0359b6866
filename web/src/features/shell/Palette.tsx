/** Everything by name: sessions and actions, from anywhere with Ctrl+K. */
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams } from "@tanstack/react-router";
import { Command } from "cmdk";
import { CircleStop, House, Languages, LogOut, Network, Plus, ShieldCheck } from "lucide-react";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { meQuery } from "@/lib/auth";
import { feedOf, mux } from "@/lib/client";
import { folderName } from "@/lib/format";
import { usePrefs } from "@/lib/prefs";
import { sessionsQuery } from "@/lib/sessions";
import { useMuxStatus } from "@/lib/use-mux";
import { Dialog } from "@/ui/Dialog";
import { Dot } from "../sessions/Dot";
import { leave, THEMES } from "./Sidebar";
import { sayError, useUi } from "./ui-state";

const groupStyle =
  "[&_[cmdk-group-heading]]:px-2.5 [&_[cmdk-group-heading]]:pt-2 [&_[cmdk-group-heading]]:pb-1 [&_[cmdk-group-heading]]:text-xs [&_[cmdk-group-heading]]:text-faint";

export default function Palette({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const set = useUi((ui) => ui.set);
  const { sessionId } = useParams({ strict: false });
  const open = useMuxStatus() === "open";
  const { data: me } = useQuery(meQuery);
  const { data: sessions } = useQuery({ ...sessionsQuery(mux), enabled: open });
  const { theme, setTheme, language, setLanguage } = usePrefs();
  const working = sessions?.find((session) => session.id === sessionId)?.dot === "working";

  const run = (action: () => void) => () => {
    onClose();
    action();
  };

  return (
    <Dialog title={t("palette.title")} onClose={onClose} bare testId="palette" className="mt-[12dvh] mb-auto">
      <Command label={t("palette.title")} className="flex min-h-0 flex-col" loop>
        <Command.Input
          autoFocus
          placeholder={t("palette.placeholder")}
          className="h-13 border-b bg-transparent px-5 text-base outline-none"
        />
        <Command.List className="max-h-[min(24rem,60dvh)] overflow-y-auto p-2">
          <Command.Empty className="px-3 py-8 text-center text-sm text-faint">
            {t("palette.none")}
          </Command.Empty>
          <Command.Group heading={t("palette.actions")} className={groupStyle}>
            {working && sessionId && (
              <Item onSelect={run(() => void feedOf(sessionId).abort().catch(sayError))}>
                <CircleStop size={16} />
                {t("palette.stop")}
              </Item>
            )}
            <Item onSelect={run(() => set({ newSession: {} }))}>
              <Plus size={16} />
              {t("sessions.new")}
            </Item>
            <Item onSelect={run(() => void navigate({ to: "/" }))}>
              <House size={16} />
              {t("palette.home")}
            </Item>
            <Item onSelect={run(() => void navigate({ to: "/permissions" }))}>
              <ShieldCheck size={16} />
              {t("permissions.title")}
            </Item>
            <Item onSelect={run(() => void navigate({ to: "/actors" }))}>
              <Network size={16} />
              {t(me?.role === "admin" ? "actors.title" : "actors.ownTitle")}
            </Item>
            {THEMES.filter((choice) => choice.theme !== theme).map((choice) => (
              <Item key={choice.theme} onSelect={run(() => setTheme(choice.theme))}>
                <choice.icon size={16} />
                {t("palette.theme", { theme: t(`theme.${choice.theme}`) })}
              </Item>
            ))}
            <Item onSelect={run(() => setLanguage(language === "en" ? "de" : "en"))}>
              <Languages size={16} />
              {t("language.switch")}
            </Item>
            <Item onSelect={run(() => void leave())}>
              <LogOut size={16} />
              {t("logout")}
            </Item>
          </Command.Group>
          {sessions && sessions.length > 0 && (
            <Command.Group heading={t("sessions.title")} className={groupStyle}>
              {sessions.map((session) => (
                <Item
                  key={session.id}
                  value={`${session.title} ${session.cwd} ${session.id}`}
                  onSelect={run(
                    () => void navigate({ to: "/s/$sessionId", params: { sessionId: session.id } }),
                  )}
                >
                  <Dot dot={session.dot} />
                  <span className="min-w-0 flex-1 truncate">{session.title || t("sessions.untitled")}</span>
                  <span className="shrink-0 text-xs text-faint">{folderName(session.cwd)}</span>
                </Item>
              ))}
            </Command.Group>
          )}
        </Command.List>
      </Command>
    </Dialog>
  );
}

function Item({ children, onSelect, value }: { children: ReactNode; onSelect: () => void; value?: string }) {
  return (
    <Command.Item
      value={value}
      onSelect={onSelect}
      className="flex min-h-10 cursor-pointer items-center gap-3 rounded-lg px-2.5 text-sm select-none data-[selected=true]:bg-sunken pointer-coarse:min-h-12"
    >
      {children}
    </Command.Item>
  );
}
