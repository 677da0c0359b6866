import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import {
  Languages,
  LogOut,
  MonitorSmartphone,
  Moon,
  Network,
  Plus,
  Search,
  ShieldCheck,
  Sun,
  UserRound,
} from "lucide-react";
import { useTranslation } from "react-i18next";
import { logout, meQuery, nameOf } from "@/lib/auth";
import { forgetKept } from "@/lib/kept";
import { type Theme, usePrefs } from "@/lib/prefs";
import { Button, IconButton } from "@/ui/Button";
import { Mark, Wordmark } from "@/ui/Logo";
import { Menu, MenuItem, MenuLabel, MenuLine } from "@/ui/Menu";
import { SessionList } from "../sessions/SessionList";
import { sayError, useUi } from "./ui-state";

export const THEMES: { theme: Theme; icon: typeof Sun }[] = [
  { theme: "system", icon: MonitorSmartphone },
  { theme: "light", icon: Sun },
  { theme: "dark", icon: Moon },
];

/** Ends the login on the server, then loads the page anew, so that nothing of the person stays in memory. */
export async function leave(): Promise<void> {
  try {
    await logout();
    forgetKept();
    window.location.assign("/login");
  } catch (error) {
    sayError(error);
  }
}

export function Sidebar() {
  const { t } = useTranslation();
  const set = useUi((ui) => ui.set);

  return (
    <nav aria-label={t("sessions.title")} className="safe-top flex h-full flex-col" data-testid="sidebar">
      <div className="flex items-center gap-2 px-4 pt-4 pb-3">
        <Link to="/" aria-label="octo" className="flex items-center gap-2 rounded-md">
          <Mark size={26} />
          <Wordmark height={17} />
        </Link>
        <div className="flex-1" />
        <IconButton label={`${t("palette.open")} (Ctrl K)`} onClick={() => set({ palette: true })}>
          <Search size={17} />
        </IconButton>
      </div>
      <div className="px-3 pb-2">
        <Button
          className="w-full"
          data-testid="new-session"
          onClick={() => set({ newSession: {}, drawer: false })}
        >
          <Plus size={17} className="text-accent" />
          {t("sessions.new")}
        </Button>
      </div>
      <SessionList />
      <ActorsLink />
      <AccountMenu />
    </nav>
  );
}

function ActorsLink() {
  const { t } = useTranslation();
  const { data: me } = useQuery(meQuery);
  return (
    <div className="border-t px-3 pt-2 pb-1">
      <Link
        to="/actors"
        data-testid="nav-actors"
        className="flex h-9 items-center gap-2.5 rounded-lg px-2 text-sm text-soft hover:bg-ink/5 hover:text-ink pointer-coarse:h-11"
        activeProps={{ className: "bg-ink/8 font-medium text-ink", "aria-current": "page" }}
      >
        <Network size={16} aria-hidden className="mx-1" />
        {t(me?.role === "admin" ? "actors.title" : "actors.ownTitle")}
      </Link>
    </div>
  );
}

function AccountMenu() {
  const { t } = useTranslation();
  const { data: me } = useQuery(meQuery);
  const { theme, setTheme, language, setLanguage } = usePrefs();
  const navigate = useNavigate();
  const name = nameOf(me);

  return (
    <div className="safe-bottom px-3">
      <Menu
        align="start"
        side="top"
        trigger={
          <Button tone="quiet" className="w-full justify-start px-2" data-testid="account">
            <span className="grid size-6 place-items-center rounded-full bg-sunken text-xs font-semibold text-soft">
              {name ? name.slice(0, 1).toUpperCase() : <UserRound size={13} />}
            </span>
            <span className="truncate">{name}</span>
          </Button>
        }
      >
        <MenuLabel>{t("theme.title")}</MenuLabel>
        {THEMES.map((choice) => (
          <MenuItem
            key={choice.theme}
            checked={theme === choice.theme}
            onSelect={() => setTheme(choice.theme)}
          >
            <span className="flex items-center gap-2">
              <choice.icon size={15} />
              {t(`theme.${choice.theme}`)}
            </span>
          </MenuItem>
        ))}
        <MenuLine />
        <MenuItem onSelect={() => void navigate({ to: "/permissions" })}>
          <span className="flex items-center gap-2.5" data-testid="nav-permissions">
            <ShieldCheck size={15} />
            {t("permissions.title")}
          </span>
        </MenuItem>
        <MenuItem onSelect={() => setLanguage(language === "en" ? "de" : "en")}>
          <Languages size={15} />
          {t("language.switch")}
        </MenuItem>
        <MenuLine />
        <MenuItem onSelect={() => void leave()}>
          <LogOut size={15} />
          {t("logout")}
        </MenuItem>
      </Menu>
    </div>
  );
}
