import { X } from "lucide-react";
import { useTranslation } from "react-i18next";
import { bytes } from "@/lib/format";
import { type Attached, dataUrl } from "@/lib/images";

/** Images that will go with the next prompt. */
export function AttachedImages({ images, onRemove }: { images: Attached[]; onRemove: (id: string) => void }) {
  const { t } = useTranslation();
  if (images.length === 0) return null;
  return (
    <ul className="flex gap-2 overflow-x-auto px-3 pt-3" data-testid="attached-images">
      {images.map((image) => (
        <li key={image.id} className="relative shrink-0">
          <img
            src={dataUrl(image)}
            alt={image.name}
            title={`${image.name} · ${bytes(image.size)}`}
            className="size-16 rounded-lg border object-cover"
          />
          <button
            type="button"
            aria-label={t("image.remove", { name: image.name })}
            onClick={() => onRemove(image.id)}
            className="absolute -top-1.5 -right-1.5 grid size-6 place-items-center rounded-full border bg-raised text-soft hover:text-ink"
          >
            <X size={13} />
          </button>
        </li>
      ))}
    </ul>
  );
}
