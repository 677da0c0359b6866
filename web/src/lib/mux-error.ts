/** Why a command has no good answer. `code` is the server's, or one of ours for what happens on the way. */
export type MuxErrorCode = "disconnected" | "timeout" | (string & {});

export class MuxError extends Error {
  readonly code: MuxErrorCode;

  constructor(code: MuxErrorCode, message: string) {
    super(message);
    this.name = "MuxError";
    this.code = code;
  }
}

/** True where the server may or may not have seen the command: only an idempotent one may be repeated. */
export function isUncertain(error: unknown): boolean {
  return error instanceof MuxError && (error.code === "disconnected" || error.code === "unanswered");
}
