/**
 * Cuts Markdown into pieces that can be rendered on their own, so that while a text streams only its
 * last piece is parsed again. Pure.
 *
 * A cut is made at a blank line, outside of code fences, before a line that cannot belong to what
 * stands above it (no indentation, no list item after a list).
 */
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const LIST_ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?: |\t|$)/;
const INDENTED = /^(?: {2,}|\t)/;
/** Definitions may be used anywhere in the text, so such a text stays whole. */
const DEFINITION = /^ {0,3}\[[^\]]+\]:/m;

export function markdownBlocks(text: string): string[] {
  if (DEFINITION.test(text)) return [text];
  const blocks: string[] = [];
  let current: string[] = [];
  let fence: string | null = null;
  let list = false;
  let blank = false;
  for (const line of text.split("\n")) {
    const mark = FENCE.exec(line)?.[1];
    if (fence !== null) {
      current.push(line);
      if (mark?.startsWith(fence) && line.trim() === mark) fence = null;
      continue;
    }
    if (line.trim() === "") {
      blank = true;
      current.push(line);
      continue;
    }
    const item = LIST_ITEM.test(line);
    if (blank && current.length > 0 && !(list && (item || INDENTED.test(line)))) {
      blocks.push(current.join("\n"));
      current = [];
      list = false;
    }
    if (item) list = true;
    if (mark) fence = mark;
    blank = false;
    current.push(line);
  }
  if (current.some((line) => line.trim() !== "")) blocks.push(current.join("\n"));
  return blocks;
}
