/** What can be done to sessions from several places. */
import { forgetFeed, mux, queryClient } from "@/lib/client";
import { historyQuery, newSessionId, SESSION_LIST_KEY } from "@/lib/sessions";

export function refreshSessions(): void {
  void queryClient.invalidateQueries({ queryKey: SESSION_LIST_KEY });
}

export async function removeSession(id: string): Promise<void> {
  await mux.command(id, "session.delete");
  forgetFeed(id);
  queryClient.removeQueries({ queryKey: historyQuery.queryKey });
  refreshSessions();
}

export interface NewSession {
  cwd: string;
  provider?: string;
  model?: string;
  /** Which agent; the server's choice when absent. */
  harness?: string;
}

/** An agent may need a while to start on a cold machine; octo gives one that hangs up before this. */
const CREATE_TIMEOUT_MS = 120_000;

/** Creates a session and gives its id once its events flow. */
export async function createSession({ cwd, provider, model, harness }: NewSession): Promise<string> {
  const id = newSessionId();
  const config = { harness, cwd, provider, model };
  await mux.command(id, "session.create", { config }, { timeoutMs: CREATE_TIMEOUT_MS });
  refreshSessions();
  return id;
}
