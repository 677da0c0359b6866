import { ImageOff } from "lucide-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { IMAGE_TYPES } from "@/lib/images";
import type { PartOf } from "@/lib/session/parts";
import { Dialog } from "@/ui/Dialog";

/** An image of a message. What lies elsewhere is a link: loading it would tell its server who reads here. */
export function Picture({ part }: { part: PartOf<"image"> }) {
  const { t } = useTranslation();
  if (part.source === "base64" && IMAGE_TYPES.includes(part.mimeType)) {
    return <Thumbnail src={`data:${part.mimeType};base64,${part.data}`} alt={part.alt ?? t("image.alt")} />;
  }
  const url = part.source === "url" && /^https?:/.test(part.url) ? part.url : null;
  return (
    <span className="inline-flex items-center gap-1.5 text-sm text-faint">
      <ImageOff size={15} />
      {url ? (
        <a href={url} target="_blank" rel="noopener noreferrer nofollow" className="text-info underline">
          {part.alt ?? url}
        </a>
      ) : (
        (part.alt ?? t("image.hidden"))
      )}
    </span>
  );
}

export function Thumbnail({ src, alt }: { src: string; alt: string }) {
  const { t } = useTranslation();
  const [large, setLarge] = useState(false);
  return (
    <>
      <button
        type="button"
        onClick={() => setLarge(true)}
        aria-label={t("image.enlarge")}
        className="cursor-zoom-in"
      >
        <img src={src} alt={alt} className="h-28 max-w-56 rounded-lg border object-cover" />
      </button>
      {large && (
        <Dialog title={alt} onClose={() => setLarge(false)} className="w-fit max-w-[94vw]">
          <img src={src} alt={alt} className="max-h-[76dvh] max-w-full object-contain p-4" />
        </Dialog>
      )}
    </>
  );
}
