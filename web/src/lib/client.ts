/** The application's one connection and the sessions it follows. Made once, at start. */
import { QueryClient } from "@tanstack/react-query";
import { onUnauthorized } from "./api";
import { meQuery } from "./auth";
import { keepFor } from "./kept";
import { Mux, type Socket } from "./mux";
import { Feed } from "./session/feed";
import { unsentShelf } from "./session/unsent";
import { SESSION_LIST_KEY } from "./sessions";

/** Sessions whose state is kept after they are left, so that coming back shows them at once. */
const KEPT_FEEDS = 12;

export const queryClient = new QueryClient();

function openSocket(): Socket {
  const url = new URL("/api/ws/mux", window.location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(url) as unknown as Socket;
}

export const mux = new Mux({
  open: openSocket,
  onRefused: () => void queryClient.invalidateQueries({ queryKey: meQuery.queryKey }),
});

onUnauthorized(() => queryClient.setQueryData(meQuery.queryKey, null));

mux.onStatus((status) => {
  if (status !== "open") return;
  void queryClient.invalidateQueries({ queryKey: SESSION_LIST_KEY });
  for (const id of unsentShelf.ids()) feedOf(id).flush();
});

window.addEventListener("online", () => mux.nudge());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) mux.nudge();
});

/** Frames belong to pages that are looked at; a hidden one is served by a slow timer. */
export function schedule(run: () => void): void {
  if (document.hidden) setTimeout(run, 250);
  else requestAnimationFrame(run);
}

const feeds = new Map<string, Feed>();

export function feedOf(sessionId: string): Feed {
  let feed = feeds.get(sessionId);
  if (feed) feeds.delete(sessionId);
  else feed = new Feed(sessionId, mux, schedule, unsentShelf);
  feeds.set(sessionId, feed);
  for (const [id, old] of feeds) {
    if (feeds.size <= KEPT_FEEDS) break;
    if (!old.isOpen && !old.hasUnsent) feeds.delete(id);
  }
  return feed;
}

export function forgetFeed(sessionId: string): void {
  feeds.get(sessionId)?.close();
  feeds.delete(sessionId);
  unsentShelf.put(sessionId, null);
}

let owner: string | null = null;

/** Says who is at the screen now. What another person left in memory is forgotten; one's own stays. */
export function claim(userId: string): void {
  keepFor(userId);
  if (owner !== null && owner !== userId) {
    for (const id of [...feeds.keys()]) forgetFeed(id);
    queryClient.removeQueries({ predicate: (query) => query.queryKey[0] !== meQuery.queryKey[0] });
  }
  owner = userId;
}
