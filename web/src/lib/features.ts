/** What this server offers to whoever is logged in. */
import { queryOptions } from "@tanstack/react-query";
import { request } from "./api";

/** A kind of agent that a session can have. */
export interface AgentKind {
  id: string;
  name: string;
  is_default: boolean;
  /** The dialect that its models have to speak; any when absent. */
  api?: string;
}

export interface Features {
  version?: string;
  /** The folder for sessions that name none; octo makes it. */
  default_workspace?: string;
  recent_folders?: string[];
  harnesses?: AgentKind[];
}

export const featuresQuery = queryOptions({
  queryKey: ["features"],
  queryFn: () => request<Features>("GET", "/features"),
  staleTime: 60_000,
  retry: false,
});
