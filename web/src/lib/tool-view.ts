/** How a tool's input and output are read. Agents name the same things differently; this knows them. Pure. */
import { type DiffLine, diffLines } from "./diff";

export type ToolKind = "bash" | "read" | "write" | "edit" | "search" | "other";

export function toolKind(name: string): ToolKind {
  const plain = name.toLowerCase();
  if (/^(bash|shell|exec|run|terminal|execute)/.test(plain)) return "bash";
  if (/^(read|view|cat|open)/.test(plain)) return "read";
  if (/^(write|create)/.test(plain)) return "write";
  if (/^(edit|str_replace|apply_patch|multiedit|patch)/.test(plain)) return "edit";
  if (/^(grep|glob|find|ls|list|search|fetch|web)/.test(plain)) return "search";
  return "other";
}

type Fields = Record<string, unknown>;

function fields(value: unknown): Fields {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? (value as Fields) : {};
}

function pick(input: Fields, ...names: string[]): string | undefined {
  for (const name of names) {
    const value = input[name];
    if (typeof value === "string") return value;
  }
  return undefined;
}

/** One line that says what a tool was asked to do. `partial` is its input while it still streams. */
export function toolSummary(name: string, input: unknown, partial?: string): string {
  const known = fields(input);
  const byKind: Record<ToolKind, string | undefined> = {
    bash: pick(known, "command", "cmd", "script"),
    read: path(known),
    write: path(known),
    edit: path(known),
    search: pick(known, "pattern", "query", "path", "url"),
    other: undefined,
  };
  const summary = byKind[toolKind(name)];
  if (summary !== undefined) return summary;
  if (partial) return glimpse(partial);
  const first = Object.values(known).find((value) => typeof value === "string");
  return typeof first === "string" ? first : "";
}

/** The beginning of the first string in a JSON text that is not complete yet. */
function glimpse(json: string): string {
  const found = /:\s*"((?:[^"\\]|\\.)*)/.exec(json)?.[1] ?? "";
  return found.replace(/\\n/g, "\n").replace(/\\(["\\/])/g, "$1");
}

function path(input: Fields): string | undefined {
  return pick(input, "path", "file_path", "filePath", "filename", "file");
}

/** The text of a tool's output, in whichever of the usual shapes it comes. */
export function outputText(output: unknown): string {
  if (output === undefined || output === null) return "";
  if (typeof output === "string") return output;
  if (Array.isArray(output)) return output.map(outputText).filter(Boolean).join("\n");
  const known = fields(output);
  if (typeof known.text === "string") return known.text;
  if (Array.isArray(known.content)) return outputText(known.content);
  if (typeof known.content === "string") return known.content;
  if (known.type === "image") return "";
  return Object.keys(known).length > 0 ? JSON.stringify(output, null, 2) : "";
}

/** Images in a tool's output, as `data:` addresses. */
export function outputImages(output: unknown): string[] {
  const content = fields(output).content;
  if (!Array.isArray(content)) return [];
  return content.flatMap((entry: unknown) => {
    const { type, data, mimeType } = fields(entry);
    const fine =
      type === "image" && typeof data === "string" && /^image\/(png|jpeg|gif|webp)$/.test(String(mimeType));
    return fine ? [`data:${mimeType};base64,${data}`] : [];
  });
}

export function writtenText(input: unknown): string {
  return pick(fields(input), "content", "text", "contents") ?? "";
}

/** An edit's changes as diff lines, or `null` where its input is of a shape we do not know. */
export function editDiff(input: unknown): DiffLine[] | null {
  const known = fields(input);
  const edits = Array.isArray(known.edits) ? known.edits.map(fields) : [known];
  const lines = edits.flatMap((edit) => {
    const before = pick(edit, "oldText", "old_string", "old_text", "old_str", "old");
    const after = pick(edit, "newText", "new_string", "new_text", "new_str", "new");
    return before === undefined && after === undefined ? [] : diffLines(before ?? "", after ?? "");
  });
  return lines.length > 0 ? lines : null;
}

/** The language of a file, for the highlighter. */
export function languageOf(file: string): string {
  return file.slice(file.lastIndexOf(".") + 1).toLowerCase();
}
