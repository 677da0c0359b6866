/** Goes on from before one of one's own messages, in a session of its own. The message waits in its composer, to be sent otherwise. */
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { GitBranch } from "lucide-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { sentence } from "@/lib/sentence";
import type { Feed, FeedView } from "@/lib/session/feed";
import type { Forked, ForkPoint } from "@/lib/wire";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { refreshSessions } from "../sessions/actions";
import { sayError } from "../shell/ui-state";
import { keepDraft } from "./drafts";

export function ForkMenu({ feed, view }: { feed: Feed; view: FeedView }) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const { items, activity } = view.session;
  const talked = items.some((item) => item.kind === "message" && item.message.role === "user");
  if (!talked || !view.capabilities?.includes("fork")) return null;
  return (
    <>
      <Button
        tone="quiet"
        className="px-2 max-sm:hidden"
        data-testid="fork"
        aria-label={t("fork.title")}
        title={t("fork.title")}
        disabled={activity === "working"}
        onClick={() => setOpen(true)}
      >
        <GitBranch size={15} />
      </Button>
      {open && <ForkDialog feed={feed} onClose={() => setOpen(false)} />}
    </>
  );
}

function ForkDialog({ feed, onClose }: { feed: Feed; onClose: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [busy, setBusy] = useState(false);
  const { data, error } = useQuery({
    queryKey: ["fork-points", feed.id],
    queryFn: () => feed.command<ForkPoint[]>("get_fork_points"),
    gcTime: 0,
    retry: false,
  });
  const fork = async (point: ForkPoint) => {
    setBusy(true);
    try {
      const { session_id, text } = await feed.command<Forked>("fork", { entry_id: point.entry_id });
      onClose();
      if (session_id === undefined) return;
      keepDraft(session_id, text);
      refreshSessions();
      await navigate({ to: "/s/$sessionId", params: { sessionId: session_id } });
    } catch (failed) {
      setBusy(false);
      sayError(failed);
    }
  };
  return (
    <Dialog title={t("fork.title")} onClose={onClose} testId="fork-dialog">
      <p className="px-5 text-sm text-soft text-pretty">{t("fork.lead")}</p>
      {error && <p className="px-5 pt-3 text-sm text-bad">{sentence(error.message)}</p>}
      <ul className="grid gap-1 overflow-y-auto p-3">
        {data?.toReversed().map((point) => (
          <li key={point.entry_id}>
            <Button
              tone="quiet"
              disabled={busy}
              data-testid="fork-point"
              className="h-auto min-h-9 w-full justify-start py-1.5 text-left font-normal whitespace-normal"
              onClick={() => void fork(point)}
            >
              <span className="line-clamp-2 [overflow-wrap:anywhere]">{point.preview}</span>
            </Button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
