/** A line diff for the small texts of an edit. Pure. */

export interface DiffLine {
  kind: "same" | "del" | "add";
  text: string;
}

/** Above this many cells the table is not worth its time: all of the old goes, all of the new comes. */
const MAX_CELLS = 400_000;

export function diffLines(before: string, after: string): DiffLine[] {
  const a = before === "" ? [] : before.split("\n");
  const b = after === "" ? [] : after.split("\n");
  if (a.length * b.length > MAX_CELLS) {
    return [...a.map((text) => line("del", text)), ...b.map((text) => line("add", text))];
  }
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const at = i * width + j;
      common[at] =
        a[i] === b[j]
          ? (common[at + width + 1] ?? 0) + 1
          : Math.max(common[at + width] ?? 0, common[at + 1] ?? 0);
    }
  }
  const out: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const at = i * width + j;
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push(line("same", a[i] ?? ""));
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && (common[at + width] ?? 0) >= (common[at + 1] ?? 0))) {
      out.push(line("del", a[i] ?? ""));
      i += 1;
    } else {
      out.push(line("add", b[j] ?? ""));
      j += 1;
    }
  }
  return out;
}

/** Reads a unified diff that somebody else made. */
export function parseUnified(diff: string): DiffLine[] {
  return diff.split("\n").flatMap((text): DiffLine[] => {
    if (/^(---|\+\+\+|@@|diff |index )/.test(text)) return [];
    if (text.startsWith("+")) return [line("add", text.slice(1))];
    if (text.startsWith("-")) return [line("del", text.slice(1))];
    return [line("same", text.startsWith(" ") ? text.slice(1) : text)];
  });
}

function line(kind: DiffLine["kind"], text: string): DiffLine {
  return { kind, text };
}
