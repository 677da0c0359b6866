/** What this server offers to whoever is logged in. */
import { queryOptions } from "@tanstack/react-query";
import { request } from "./api";

export interface Features {
  version?: string;
  /** The folder for sessions that name none; octo makes it. */
  default_workspace?: string;
  recent_folders?: string[];
}

export const featuresQuery = queryOptions({
  queryKey: ["features"],
  queryFn: () => request<Features>("GET", "/features"),
  staleTime: 60_000,
  retry: false,
});
