/** Who is logged in. The token itself is in a cookie that scripts cannot read. */
import { queryOptions } from "@tanstack/react-query";
import { ApiError, request } from "./api";

export interface User {
  id: string;
  name?: string;
  username?: string;
  display_name?: string;
  role?: string;
}

/** `null` means: nobody. Other failures are errors, so that an unreachable server does not look like a log out. */
export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: async (): Promise<User | null> => {
    try {
      return await request<User>("GET", "/me");
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 60_000,
  retry: false,
});

export async function login(username: string, password: string): Promise<void> {
  await request("POST", "/auth/login", { username, password });
}

export async function logout(): Promise<void> {
  await request("POST", "/auth/logout");
}

export function nameOf(user: User | null | undefined): string {
  return user?.display_name || user?.name || user?.username || user?.id || "";
}
