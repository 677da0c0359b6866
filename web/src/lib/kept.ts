/**
 * What a person wrote and octo does not have yet, kept over a reload of the page: drafts in this browser,
 * messages on their way in this tab. Bounded; where the browser keeps nothing, it is forgotten with the page.
 * It belongs to one person: somebody else who logs in here finds nothing of it.
 */

interface Entry<T> {
  at: number;
  value: T;
}

const OWNER = "octo.owner";
const PREFIX = "octo.kept.";

/** One kind of thing, by session. The oldest entry goes when there are too many; one that is too long is not kept. */
export class Shelf<T> {
  private readonly storage: () => Storage;
  private readonly prefix: string;
  private readonly maxEntries: number;
  private readonly maxChars: number;

  constructor(storage: () => Storage, name: string, maxEntries: number, maxChars: number) {
    this.storage = storage;
    this.prefix = `${PREFIX}${name}.`;
    this.maxEntries = maxEntries;
    this.maxChars = maxChars;
  }

  get(id: string): T | null {
    return this.entry(this.prefix + id)?.value ?? null;
  }

  /** The ids of which something is kept. */
  ids(): string[] {
    return keysOf(this.storage, this.prefix).map((key) => key.slice(this.prefix.length));
  }

  /** Keeps `value`, or forgets what was kept where it is `null`. */
  put(id: string, value: T | null): void {
    const key = this.prefix + id;
    try {
      const text = value === null ? null : JSON.stringify({ at: Date.now(), value } satisfies Entry<T>);
      if (text === null || text.length > this.maxChars) this.storage().removeItem(key);
      else {
        if (this.storage().getItem(key) === null) this.makeRoom();
        this.storage().setItem(key, text);
      }
    } catch {
      // Full or forbidden: an older text must not stand for the newer one.
      remove(this.storage, key);
    }
  }

  private makeRoom(): void {
    const keys = keysOf(this.storage, this.prefix);
    if (keys.length < this.maxEntries) return;
    const ages = keys.map((key) => ({ key, at: this.entry(key)?.at ?? 0 }));
    ages.sort((a, b) => a.at - b.at);
    for (const { key } of ages.slice(0, keys.length - this.maxEntries + 1)) remove(this.storage, key);
  }

  private entry(key: string): Entry<T> | null {
    try {
      const text = this.storage().getItem(key);
      return text === null ? null : (JSON.parse(text) as Entry<T>);
    } catch {
      return null;
    }
  }
}

/** Forgets everything that is kept, unless it is `userId`'s own. */
export function keepFor(userId: string): void {
  try {
    for (const storage of [() => localStorage, () => sessionStorage]) {
      if (storage().getItem(OWNER) === userId) continue;
      for (const key of keysOf(storage, PREFIX)) storage().removeItem(key);
      storage().setItem(OWNER, userId);
    }
  } catch {
    // Nothing can be kept, so there is nothing to forget.
  }
}

export function forgetKept(): void {
  keepFor("");
}

function keysOf(storage: () => Storage, prefix: string): string[] {
  try {
    const all = storage();
    return Array.from({ length: all.length }, (_, n) => all.key(n) ?? "").filter((key) =>
      key.startsWith(prefix),
    );
  } catch {
    return [];
  }
}

function remove(storage: () => Storage, key: string): void {
  try {
    storage().removeItem(key);
  } catch {
    // Storage is forbidden: nothing stands there.
  }
}
