/** What this server offers to whoever is logged in. */
import { queryOptions } from "@tanstack/react-query";
import { request } from "./api";
import type { Model } from "./wire";

/** An agent that octo knows. Those that are not installed say how to get them. */
export interface Harness {
  name: string;
  label: string;
  is_default: boolean;
  installed: boolean;
  /** A sentence. */
  how_to_get?: string;
  version?: string;
  /** The version that octo is tested with. */
  tested_version?: string;
  /** The dialect that its models have to speak; any when absent. */
  api?: string;
  /** The models that it can have; absent while octo does not know them. */
  models?: Model[];
}

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

export const harnessesQuery = queryOptions({
  queryKey: ["harnesses"],
  queryFn: () => request<Harness[]>("GET", "/harnesses"),
  // Somebody may install one while the page is open.
  staleTime: 10_000,
  retry: false,
});
