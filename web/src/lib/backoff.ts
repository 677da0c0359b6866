/** Waiting times between attempts to connect: doubling from 0.3 s to 10 s, with jitter so that many clients do not return at once. */
export const FIRST_DELAY_MS = 300;
export const LONGEST_DELAY_MS = 10_000;

/** The wait before attempt `attempt` (0 is the first repeat), between half and all of the full step. */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const step = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 16));
  return Math.round(step * (0.5 + random() / 2));
}
