import { useEffect, useMemo, useSyncExternalStore } from "react";
import { feedOf } from "./client";
import type { Feed, FeedView } from "./session/feed";

/** Follows a session for as long as the component is there. */
export function useFeed(sessionId: string): { feed: Feed; view: FeedView } {
  const feed = useMemo(() => feedOf(sessionId), [sessionId]);
  useEffect(() => {
    feed.open();
    return () => feed.close();
  }, [feed]);
  const view = useSyncExternalStore(feed.subscribe, feed.snapshot);
  return { feed, view };
}
