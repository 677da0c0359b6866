/** The frame of every screen behind the log in: session list, banner, dialogs, keys. */
import { useQuery } from "@tanstack/react-query";
import { Outlet, useLocation, useNavigate, useRouter } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { meQuery } from "@/lib/auth";
import { claim, mux } from "@/lib/client";
import { Button } from "@/ui/Button";
import { cx } from "@/ui/cx";
import { Mark } from "@/ui/Logo";
import { NewSessionDialog } from "../sessions/NewSessionDialog";
import { Banner } from "./Banner";
import { Sidebar } from "./Sidebar";
import { Toast } from "./Toast";
import { say, useUi } from "./ui-state";

const Palette = lazy(() => import("./Palette"));

export function Shell() {
  const { t } = useTranslation();
  const { data: me, isPending, isError, refetch } = useQuery({ ...meQuery, refetchInterval: 5 * 60_000 });

  if (isPending) return <Waiting />;
  if (isError && !me) {
    return (
      <main className="grid h-full place-items-center p-6 text-center">
        <div>
          <Mark size={44} className="mx-auto mb-4" />
          <p className="mb-4 text-soft">{t("shell.unreachable")}</p>
          <Button onClick={() => void refetch()}>{t("banner.retry")}</Button>
        </div>
      </main>
    );
  }
  return me ? <Frame key={me.id} userId={me.id} /> : <ToLogin />;
}

/** Goes to the log in once, keeping the address for afterwards. */
function ToLogin() {
  const navigate = useNavigate();
  const { latestLocation } = useRouter();
  const { href } = latestLocation;
  const from = useRef(href);
  useEffect(() => {
    const next = from.current === "/" || from.current.startsWith("/login") ? undefined : from.current;
    void navigate({ to: "/login", search: { next }, replace: true });
  }, [navigate]);
  return <Waiting />;
}

function Frame({ userId }: { userId: string }) {
  const { t } = useTranslation();
  const { drawer, palette, newSession, set } = useUi();
  // Before anything below reads what the person before left here.
  useState(() => claim(userId));
  const location = useLocation({ select: (l) => l.pathname });

  useEffect(() => {
    mux.start();
    // Fetched ahead, so that the first session opens at once.
    void import("../chat/ChatPage");
    return () => mux.stop();
  }, []);

  useEffect(() => mux.onSystem((frame) => frame.type === "notice" && say(String(frame.message))), []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: going elsewhere closes the drawer.
  useEffect(() => set({ drawer: false }), [location, set]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        set({ palette: !useUi.getState().palette });
      } else if (event.key === "Escape" && useUi.getState().drawer) set({ drawer: false });
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [set]);

  return (
    <div className="flex h-full">
      <a
        href="#main"
        className="sr-only focus:not-sr-only focus:fixed focus:top-2 focus:left-2 focus:z-50 focus:rounded-lg focus:bg-raised focus:px-3 focus:py-2"
      >
        {t("shell.skip")}
      </a>
      <div
        className={cx(
          "fixed inset-y-0 left-0 z-40 w-76 max-w-[86vw] border-r bg-ground transition-transform duration-200 md:visible md:static md:w-72 md:translate-x-0 md:transition-none",
          drawer ? "translate-x-0 shadow-2xl shadow-(color:--shadow)" : "invisible -translate-x-full",
        )}
      >
        <Sidebar />
      </div>
      {drawer && (
        <button
          type="button"
          aria-label={t("shell.closeList")}
          className="fixed inset-0 z-30 bg-veil md:hidden"
          onClick={() => set({ drawer: false })}
        />
      )}
      <div className="flex min-w-0 flex-1 flex-col bg-surface">
        <Banner />
        <main id="main" tabIndex={-1} className="flex min-h-0 flex-1 flex-col outline-none">
          <Outlet />
        </main>
      </div>
      {newSession && <NewSessionDialog cwd={newSession.cwd} onClose={() => set({ newSession: null })} />}
      {palette && (
        <Suspense>
          <Palette onClose={() => set({ palette: false })} />
        </Suspense>
      )}
      <Toast />
    </div>
  );
}

function Waiting() {
  const { t } = useTranslation();
  return (
    <main className="grid h-full place-items-center" aria-busy="true" aria-label={t("loading")}>
      <Mark size={44} className="alive" />
    </main>
  );
}
