import { Link } from "@tanstack/react-router";
import { Play } from "lucide-react";
import { useCallback, useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { folderName } from "@/lib/format";
import { sentence } from "@/lib/sentence";
import { runningShell } from "@/lib/session/shell";
import { useFeed } from "@/lib/use-feed";
import { Button } from "@/ui/Button";
import { Mark } from "@/ui/Logo";
import { refreshSessions } from "../sessions/actions";
import { sayError, useUi } from "../shell/ui-state";
import { ChatHeader } from "./ChatHeader";
import { Composer, type ComposerHandle } from "./Composer";
import { demoPrompt } from "./demo";
import { Parked } from "./Parked";
import { Queue } from "./Queue";
import { Requests } from "./Requests";
import { StatusLine } from "./StatusLine";
import { Timeline } from "./Timeline";
import { useModel } from "./use-model";

export default function ChatPage({ sessionId }: { sessionId: string }) {
  const { t } = useTranslation();
  const { feed, view } = useFeed(sessionId);
  const composer = useRef<ComposerHandle>(null);
  const { session, failure } = view;
  const working = session.activity === "working";
  const { current } = useModel(view);
  const blind = current !== undefined && !current.input.includes("image");

  const edit = useCallback((text: string) => composer.current?.insert(text), []);
  const stop = useCallback(() => void feed.abort().catch(sayError), [feed]);

  // Escape stops the agent, unless something is open that Escape closes.
  useEffect(() => {
    if (!working) return;
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      // In another field than the composer, Escape belongs to that field.
      const field = event.target instanceof Element ? event.target.closest("input, textarea") : null;
      if (field && !field.matches("[data-testid=composer]")) return;
      if (document.querySelector("dialog[open], [role=menu]") || useUi.getState().drawer) return;
      stop();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [working, stop]);

  // The list beside is told at once of what it would otherwise learn with its next question.
  // biome-ignore lint/correctness/useExhaustiveDependencies: these are what the list shows.
  useEffect(() => refreshSessions(), [session.activity, session.title, session.requests.length]);

  useEffect(() => {
    document.title = session.title ? `${session.title} · octo` : "octo";
    return () => {
      document.title = "octo";
    };
  }, [session.title]);

  if (failure?.code === "session_not_found") return <Gone />;
  const empty =
    session.sync !== "snapshot" &&
    session.items.length === 0 &&
    runningShell(session) === undefined &&
    view.outbox.length === 0 &&
    session.removed === null;

  return (
    <div
      className="flex h-full min-h-0 flex-col"
      data-testid="chat"
      data-activity={session.activity}
      data-sync={session.sync}
    >
      <ChatHeader feed={feed} view={view} />
      {empty && session.accepted.length === 0 ? (
        <Empty
          cwd={session.cwd}
          onDemo={
            session.model?.provider === "demo"
              ? () => feed.send("prompt", demoPrompt(t("demo.prompt")))
              : null
          }
        />
      ) : (
        <Timeline feed={feed} view={view} onEdit={edit} />
      )}
      <div className="safe-x safe-bottom">
        <div className="mx-auto max-w-3xl">
          {failure && <p className="pb-2 text-sm text-bad">{sentence(failure.message)}</p>}
          <StatusLine view={view} />
          <Requests feed={feed} requests={session.requests} />
          <Parked feed={feed} parked={view.parked} onEdit={edit} />
          <Queue
            feed={feed}
            steering={session.steering}
            followUp={session.followUp}
            capabilities={view.capabilities}
          />
          <Composer
            ref={composer}
            sessionId={sessionId}
            feed={feed}
            view={view}
            onStop={stop}
            blind={blind}
          />
        </div>
      </div>
    </div>
  );
}

function Empty({ cwd, onDemo }: { cwd: string | null; onDemo: (() => void) | null }) {
  const { t } = useTranslation();
  return (
    <div className="m-auto max-w-md px-6 text-center" data-testid="empty-chat">
      <Mark size={44} className="mx-auto mb-4" />
      <h2 className="text-lg font-semibold tracking-tight">
        {cwd ? t("chat.emptyIn", { folder: folderName(cwd) }) : t("chat.empty")}
      </h2>
      <p className="mt-1.5 text-soft text-pretty">{t("chat.emptyLead")}</p>
      {onDemo && (
        <div className="mt-4 rounded-xl bg-warn-wash px-4 py-3 text-sm text-warn">
          <p>{t("chat.demo")}</p>
          <Button className="mt-2.5" onClick={onDemo} data-testid="play-demo">
            <Play size={14} className="text-accent" />
            {t("demo.play")}
          </Button>
        </div>
      )}
    </div>
  );
}

function Gone() {
  const { t } = useTranslation();
  const set = useUi((ui) => ui.set);
  return (
    <div className="m-auto max-w-md p-6 text-center" data-testid="session-gone">
      <Mark size={44} className="mx-auto mb-4" />
      <h1 className="text-lg font-semibold">{t("gone.title")}</h1>
      <p className="mt-1.5 mb-5 text-soft">{t("gone.text")}</p>
      <div className="flex justify-center gap-2">
        <Link
          to="/"
          className="inline-flex h-9 items-center rounded-lg border bg-raised px-3.5 text-sm font-medium pointer-coarse:h-11"
        >
          {t("notFound.home")}
        </Link>
        <Button tone="primary" onClick={() => set({ newSession: {} })}>
          {t("sessions.new")}
        </Button>
      </div>
    </div>
  );
}
