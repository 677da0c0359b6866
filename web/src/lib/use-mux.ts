import { useSyncExternalStore } from "react";
import { mux } from "./client";
import type { MuxStatus } from "./mux";

const subscribe = (watcher: () => void) => mux.onStatus(watcher);
const snapshot = () => mux.status;

export function useMuxStatus(): MuxStatus {
  return useSyncExternalStore(subscribe, snapshot);
}
