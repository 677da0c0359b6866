/** Telling the parts of a message apart. Parts of another origin (`x-…`) have no meaning here. */
import type { KnownPart } from "@/protocol/KnownPart";
import type { Message, Part } from "../wire";

export type PartOf<K extends KnownPart["type"]> = Extract<KnownPart, { type: K }>;

export function isPart<K extends KnownPart["type"]>(part: Part, type: K): part is PartOf<K> {
  return part.type === type;
}

/** All text of a message, for copying and for a quick look. */
export function textOf(message: Message): string {
  return message.parts.flatMap((part) => (isPart(part, "text") ? [part.text] : [])).join("\n\n");
}
