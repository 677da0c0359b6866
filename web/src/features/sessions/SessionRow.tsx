import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { Ellipsis, Pencil, Trash2 } from "lucide-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { mux } from "@/lib/client";
import { ago } from "@/lib/format";
import { usePrefs } from "@/lib/prefs";
import type { SessionSummary } from "@/lib/sessions";
import { IconButton } from "@/ui/Button";
import { Menu, MenuItem } from "@/ui/Menu";
import { sayError } from "../shell/ui-state";
import { refreshSessions, removeSession } from "./actions";
import { ConfirmDelete } from "./ConfirmDelete";
import { Dot } from "./Dot";

export function SessionRow({ session, now }: { session: SessionSummary; now: number }) {
  const { t } = useTranslation();
  const language = usePrefs((prefs) => prefs.language);
  const { sessionId } = useParams({ strict: false });
  const navigate = useNavigate();
  const [renaming, setRenaming] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const title = session.title || t("sessions.untitled");

  async function rename(name: string) {
    setRenaming(false);
    if (!name.trim() || name.trim() === session.title) return;
    try {
      await mux.command(session.id, "set_session_name", { name: name.trim() });
      refreshSessions();
    } catch (error) {
      sayError(error);
    }
  }

  async function remove() {
    setDeleting(false);
    try {
      if (sessionId === session.id) await navigate({ to: "/" });
      await removeSession(session.id);
    } catch (error) {
      sayError(error);
    }
  }

  return (
    <li className="group/row relative" data-testid="session-row" data-session={session.id}>
      {renaming ? (
        <input
          aria-label={t("sessions.rename")}
          defaultValue={session.title}
          // biome-ignore lint/a11y/noAutofocus: the person has just asked to type here.
          autoFocus
          onFocus={(event) => event.target.select()}
          onBlur={(event) => void rename(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter") event.currentTarget.blur();
            if (event.key === "Escape") {
              event.stopPropagation();
              setRenaming(false);
            }
          }}
          className="h-9 w-full rounded-lg border border-focus bg-raised px-2 text-sm"
        />
      ) : (
        <>
          <Link
            to="/s/$sessionId"
            params={{ sessionId: session.id }}
            className="flex h-9 items-center gap-2.5 rounded-lg px-2 text-sm hover:bg-ink/5 pointer-coarse:h-11"
            activeProps={{ className: "bg-ink/8 font-medium", "aria-current": "page" }}
            onDoubleClick={() => setRenaming(true)}
          >
            <Dot dot={session.dot} />
            <span className="min-w-0 flex-1 truncate">{title}</span>
            <time className="text-xs text-faint tabular-nums group-focus-within/row:invisible group-hover/row:invisible pointer-coarse:pr-9">
              {ago(session.lastActivity, now, language, t("now"))}
            </time>
          </Link>
          <Menu
            trigger={
              <IconButton
                label={t("sessions.menu", { title })}
                className="absolute top-0.5 right-0.5 opacity-0 group-focus-within/row:opacity-100 group-hover/row:opacity-100 data-[state=open]:opacity-100 pointer-coarse:top-0 pointer-coarse:opacity-100"
              >
                <Ellipsis size={16} />
              </IconButton>
            }
          >
            <MenuItem onSelect={() => setRenaming(true)}>
              <Pencil size={15} />
              {t("sessions.rename")}
            </MenuItem>
            <MenuItem danger onSelect={() => setDeleting(true)}>
              <Trash2 size={15} />
              {t("sessions.delete")}
            </MenuItem>
          </Menu>
        </>
      )}
      {deleting && (
        <ConfirmDelete title={title} onConfirm={() => void remove()} onClose={() => setDeleting(false)} />
      )}
    </li>
  );
}
