import { useQuery } from "@tanstack/react-query";
import { FolderOpen, Menu as MenuIcon, Plus } from "lucide-react";
import { useTranslation } from "react-i18next";
import { mux } from "@/lib/client";
import { folderName, folderParent } from "@/lib/format";
import { recentFolders, sessionsQuery } from "@/lib/sessions";
import { useMuxStatus } from "@/lib/use-mux";
import { Button, IconButton } from "@/ui/Button";
import { Mark } from "@/ui/Logo";
import { useUi } from "./ui-state";

/** Where nothing is open yet: what octo is for, and the first step. */
export function HomePage() {
  const { t } = useTranslation();
  const set = useUi((ui) => ui.set);
  const status = useMuxStatus();
  const { data: sessions } = useQuery({ ...sessionsQuery(mux), enabled: status === "open" });
  const folders = recentFolders(sessions ?? [], 4);
  const first = sessions?.length === 0;

  return (
    <div className="flex h-full flex-col overflow-y-auto" data-testid="home">
      <div className="safe-top p-2 md:hidden">
        <IconButton label={t("shell.openList")} onClick={() => set({ drawer: true })}>
          <MenuIcon size={20} />
        </IconButton>
      </div>
      <div className="m-auto w-full max-w-xl px-6 pb-16">
        <Mark size={52} />
        <h1 className="mt-5 text-2xl font-semibold tracking-tight text-balance">
          {first ? t("home.first") : t("home.title")}
        </h1>
        <p className="mt-2 text-soft text-pretty">{first ? t("home.firstLead") : t("home.lead")}</p>
        <Button tone="primary" className="mt-6" onClick={() => set({ newSession: {} })}>
          <Plus size={17} />
          {t("sessions.new")}
        </Button>
        {folders.length > 0 && (
          <section className="mt-10">
            <h2 className="mb-2 text-sm text-faint">{t("home.recent")}</h2>
            <ul className="grid gap-1.5 sm:grid-cols-2">
              {folders.map((cwd) => (
                <li key={cwd}>
                  <button
                    type="button"
                    className="flex w-full items-center gap-3 rounded-xl border bg-raised px-3.5 py-2.5 text-left hover:border-line-strong"
                    onClick={() => set({ newSession: { cwd } })}
                  >
                    <FolderOpen size={17} className="shrink-0 text-faint" />
                    <span className="min-w-0">
                      <span className="block truncate font-medium">{folderName(cwd)}</span>
                      <span className="block truncate text-xs text-faint">{folderParent(cwd)}</span>
                    </span>
                  </button>
                </li>
              ))}
            </ul>
          </section>
        )}
        <p className="mt-10 hidden text-sm text-faint md:block">{t("home.keys")}</p>
      </div>
    </div>
  );
}
