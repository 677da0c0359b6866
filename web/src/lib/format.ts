/** Numbers and times as people read them. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "now", "5m", "3h", "2d", then a date. */
export function ago(ts: number, now: number, language: string, nowText: string): string {
  const age = now - ts;
  if (age < MINUTE) return nowText;
  if (age < HOUR) return `${Math.floor(age / MINUTE)}m`;
  if (age < DAY) return `${Math.floor(age / HOUR)}h`;
  if (age < 7 * DAY) return `${Math.floor(age / DAY)}d`;
  return new Intl.DateTimeFormat(language, { day: "numeric", month: "short" }).format(ts);
}

export function clock(ts: number, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(ts);
}

export function day(ts: number, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(ts);
}

export function duration(ms: number): string {
  if (ms < SECOND) return `${Math.round(ms)} ms`;
  if (ms < 10 * SECOND) return `${(ms / SECOND).toFixed(1)} s`;
  if (ms < MINUTE) return `${Math.round(ms / SECOND)} s`;
  return `${Math.floor(ms / MINUTE)} min ${Math.round((ms % MINUTE) / SECOND)} s`;
}

export function micros(us: number): string {
  if (us < 1000) return `${us} µs`;
  if (us < 10_000) return `${(us / 1000).toFixed(1)} ms`;
  return duration(us / 1000);
}

/** How old something is, in its largest unit: `8s`, `3m`, `5h`, `12d`. */
export function age(ms: number): string {
  if (ms < MINUTE) return `${Math.max(0, Math.floor(ms / SECOND))}s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}m`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)}h`;
  return `${Math.floor(ms / DAY)}d`;
}

/** Of events a second: exact when few, short when many. */
export function perSecond(rate: number): string {
  if (rate === 0) return "0";
  if (rate < 10) return rate.toFixed(1);
  return rate < 10_000 ? String(Math.round(rate)) : `${(rate / 1000).toFixed(1)}k`;
}

export function time(ts: number, language: string): string {
  return new Intl.DateTimeFormat(language, { timeStyle: "medium" }).format(ts);
}

export function tokens(count: number): string {
  if (count < 1000) return String(count);
  if (count < 1_000_000) return `${(count / 1000).toFixed(count < 10_000 ? 1 : 0)}k`;
  return `${(count / 1_000_000).toFixed(1)}M`;
}

export function cost(usd: number): string {
  if (usd === 0) return "$0";
  return usd < 0.01 ? `$${usd.toFixed(4)}` : `$${usd.toFixed(2)}`;
}

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${Math.round(count / 1024)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1)} MiB`;
}

/** A folder by its last name. */
export function folderName(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("/") + 1) || path;
}

/** A folder's parent, shortened from the left. */
export function folderParent(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  const parent = trimmed.slice(0, trimmed.lastIndexOf("/")) || "/";
  return parent.length > 34 ? `…${parent.slice(-33)}` : parent;
}

/** US dollars per million tokens, in and out: "$3 / $15". */
export function price(of: { input: number; output: number }): string {
  const dollars = (amount: number) => `$${Number(amount.toPrecision(3))}`;
  return `${dollars(of.input)} / ${dollars(of.output)}`;
}
