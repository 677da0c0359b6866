import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { FolderOpen } from "lucide-react";
import { type FormEvent, useLayoutEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { mux } from "@/lib/client";
import { featuresQuery, harnessesQuery } from "@/lib/features";
import { folderName } from "@/lib/format";
import { usePrefs } from "@/lib/prefs";
import { sentence } from "@/lib/sentence";
import { modelsQuery, recentFolders, sessionsQuery } from "@/lib/sessions";
import { useMuxStatus } from "@/lib/use-mux";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { Field } from "@/ui/Field";
import { AgentPicker } from "./AgentPicker";
import { createSession } from "./actions";
import { ModelPicker } from "./ModelPicker";

const MAX_FOLDERS = 6;

export function NewSessionDialog({ cwd, onClose }: { cwd?: string; onClose: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const open = useMuxStatus() === "open";
  const { data: sessions } = useQuery({ ...sessionsQuery(mux), enabled: open });
  const { data: all, isPending } = useQuery({ ...modelsQuery(mux), enabled: open });
  const { data: agents = [] } = useQuery(harnessesQuery);
  const { data: features } = useQuery(featuresQuery);
  const used = recentFolders(sessions ?? []);
  const own = features?.default_workspace;
  const folders = [...new Set([...used, ...(features?.recent_folders ?? []), ...(own ? [own] : [])])].slice(
    0,
    MAX_FOLDERS,
  );
  const { lastModel, setLastModel, lastAgent, setLastAgent } = usePrefs();
  // Until somebody chooses: where they last worked, or the folder that octo has made for them.
  const [typed, setFolder] = useState<string | null>(cwd ?? null);
  const folder = typed ?? folders[0] ?? "";
  // A suggestion may arrive while somebody is about to type: what they type replaces it, and is never joined to it.
  const input = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    const field = input.current;
    if (typed === null && field && document.activeElement === field && field.value === folder) field.select();
  }, [typed, folder]);
  const [chosen, setChosen] = useState<string | null>(lastModel);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const [wanted, setAgent] = useState<string | null>(lastAgent);
  const installed = agents.filter((a) => a.installed);
  const agent =
    installed.find((a) => a.name === wanted) ?? installed.find((a) => a.is_default) ?? installed[0];
  // What the agent is offered, as far as octo says.
  const fitting = agent?.models ?? all?.filter((m) => !agent?.api || m.api === agent.api);
  const model = fitting?.find((m) => `${m.provider}/${m.id}` === chosen) ?? fitting?.[0];

  async function submit(event: FormEvent) {
    event.preventDefault();
    const path = folder.trim();
    if (!path.startsWith("/") && !path.startsWith("~")) {
      setError(t("new.absolute"));
      return;
    }
    setBusy(true);
    setError(null);
    try {
      const id = await createSession({
        cwd: path,
        provider: model?.provider,
        model: model?.id,
        harness: agent?.name,
      });
      if (agent) setLastAgent(agent.name);
      if (model) setLastModel(`${model.provider}/${model.id}`);
      onClose();
      await navigate({ to: "/s/$sessionId", params: { sessionId: id } });
    } catch (failure) {
      setError(sentence(failure instanceof Error ? failure.message : String(failure)));
      setBusy(false);
    }
  }

  return (
    <Dialog title={t("new.title")} onClose={onClose} testId="new-session-dialog">
      <form onSubmit={submit} className="flex min-h-0 flex-col gap-5 overflow-y-auto px-5 pt-3 pb-5">
        <div>
          <Field
            label={t("new.folder")}
            hint={t("new.folderHint")}
            error={error}
            name="cwd"
            ref={input}
            placeholder="/home/you/project"
            data-testid="folder"
            autoComplete="off"
            autoCapitalize="none"
            spellCheck={false}
            autoFocus
            required
            value={folder}
            onChange={(event) => setFolder(event.target.value)}
            className="[&_input]:font-mono [&_input]:text-sm"
          />
          {folders.length > 0 && (
            <ul className="mt-3 flex flex-wrap gap-1.5" aria-label={t("home.recent")}>
              {folders.map((path) => (
                <li key={path}>
                  <button
                    type="button"
                    title={path}
                    aria-pressed={path === folder}
                    onClick={() => setFolder(path)}
                    className="flex h-7 items-center gap-1.5 rounded-full border bg-raised px-2.5 text-sm text-soft hover:border-line-strong hover:text-ink aria-pressed:border-accent aria-pressed:text-ink pointer-coarse:h-10"
                  >
                    <FolderOpen size={13} />
                    {folderName(path)}
                  </button>
                </li>
              ))}
            </ul>
          )}
        </div>
        <AgentPicker agents={agents} value={agent?.name ?? ""} onChange={setAgent} />
        <ModelPicker
          models={fitting ?? []}
          loading={isPending && !agent?.models}
          value={model ? `${model.provider}/${model.id}` : null}
          onChange={setChosen}
        />
        <div className="flex items-center justify-between gap-2 pt-1">
          <span className="text-sm text-faint">
            {agents.length < 2 && agent && t("new.agent", { name: agent.label })}
          </span>
          <span className="flex gap-2">
            <Button tone="quiet" onClick={onClose}>
              {t("cancel")}
            </Button>
            <Button type="submit" tone="primary" disabled={busy || !open} data-testid="create-session">
              {busy ? t("new.starting") : t("new.start")}
            </Button>
          </span>
        </div>
      </form>
    </Dialog>
  );
}
