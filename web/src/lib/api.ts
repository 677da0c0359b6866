/** octo's REST interface: same origin, cookie, JSON. Every failure is an `ApiError` with a sentence. */

export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

const listeners = new Set<() => void>();

/** Told whenever octo says that nobody is logged in, whichever request it was. */
export function onUnauthorized(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  let response: globalThis.Response;
  try {
    response = await fetch(`/api${path}`, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? undefined : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "unreachable", "octo cannot be reached");
  }
  if (!response.ok) throw await failure(response, path);
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** The error that an answer carries. */
export async function failure(response: globalThis.Response, path: string): Promise<ApiError> {
  if (response.status === 401 && path !== "/auth/login") for (const listener of [...listeners]) listener();
  const body = (await response.json().catch(() => ({}))) as { error?: string; code?: string };
  const text = body.error ?? `octo answered with status ${response.status}`;
  return new ApiError(response.status, body.code ?? "", text);
}
