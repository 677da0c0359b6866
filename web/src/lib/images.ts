/** Images for a prompt: what is taken, how much, and why something is not. */
import { randomId } from "./id";
import type { ImageInput } from "./wire";

export const IMAGE_TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
export const MAX_IMAGES = 8;
/** What model providers take per image. */
export const MAX_IMAGE_BYTES = 5 * 1024 * 1024;
/** All images of a prompt: as base64 they must fit into one frame of 16 MiB. */
export const MAX_TOTAL_BYTES = 11 * 1024 * 1024;

export interface Attached extends ImageInput {
  id: string;
  name: string;
  size: number;
}

export type Refusal =
  | { reason: "type"; name: string }
  | { reason: "size"; name: string }
  | { reason: "count"; name: string }
  | { reason: "total"; name: string };

/** Decides for each file, in order, whether it is taken beside what is there already. */
export function sift(files: File[], present: Attached[]): { taken: File[]; refused: Refusal[] } {
  const taken: File[] = [];
  const refused: Refusal[] = [];
  let total = present.reduce((sum, image) => sum + image.size, 0);
  for (const file of files) {
    const { name } = file;
    if (!IMAGE_TYPES.includes(file.type)) refused.push({ reason: "type", name });
    else if (file.size > MAX_IMAGE_BYTES) refused.push({ reason: "size", name });
    else if (present.length + taken.length >= MAX_IMAGES) refused.push({ reason: "count", name });
    else if (total + file.size > MAX_TOTAL_BYTES) refused.push({ reason: "total", name });
    else {
      taken.push(file);
      total += file.size;
    }
  }
  return { taken, refused };
}

export async function read(file: File): Promise<Attached> {
  const url = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Error(`${file.name} could not be read`));
    reader.readAsDataURL(file);
  });
  const data = url.slice(url.indexOf(",") + 1);
  return { id: randomId(), name: file.name, size: file.size, data, media_type: file.type };
}

export function dataUrl(image: ImageInput): string {
  return `data:${image.media_type};base64,${image.data}`;
}
