/** Telling the parts of a message apart. Parts of another origin (`x-…`) have no meaning here. */
import type { KnownPart } from "@/protocol/KnownPart";
import { sentence } from "../sentence";
import type { Message, Part } from "../wire";

export type PartOf<K extends KnownPart["type"]> = Extract<KnownPart, { type: K }>;

export function isPart<K extends KnownPart["type"]>(part: Part, type: K): part is PartOf<K> {
  return part.type === type;
}

/** All text of a message, for copying and for a quick look. */
export function textOf(message: Message): string {
  return message.parts.flatMap((part) => (isPart(part, "text") ? [part.text] : [])).join("\n\n");
}

/** Why a message ended with an error, as far as its agent said so. */
export function failureOf({ metadata }: Message): string | null {
  const error =
    metadata !== null && typeof metadata === "object" ? (metadata as { error?: unknown }).error : null;
  return typeof error === "string" && error !== "" ? sentence(error) : null;
}
