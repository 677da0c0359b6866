import { ArrowUp, ImagePlus, ListEnd, Square } from "lucide-react";
import { type KeyboardEvent, type Ref, useEffect, useImperativeHandle, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { bytes } from "@/lib/format";
import {
  type Attached,
  IMAGE_TYPES,
  MAX_IMAGE_BYTES,
  MAX_IMAGES,
  MAX_TOTAL_BYTES,
  read,
  sift,
} from "@/lib/images";
import type { Feed, FeedView } from "@/lib/session/feed";
import { MAX_OUTGOING } from "@/lib/session/outbox";
import { commandIn } from "@/lib/session/shell";
import type { InputKind } from "@/lib/wire";
import { IconButton } from "@/ui/Button";
import { cx } from "@/ui/cx";
import { say, sayError } from "../shell/ui-state";
import { AttachedImages } from "./AttachedImages";
import { forgetDraft, keepDraft, keptDraft } from "./drafts";

export interface ComposerHandle {
  insert: (text: string) => void;
}

interface Props {
  ref: Ref<ComposerHandle>;
  sessionId: string;
  feed: Feed;
  view: FeedView;
  onStop: () => void;
  /** The model takes no images, as far as is known. */
  blind: boolean;
}

const MAX_HEIGHT_PX = 260;

export function Composer({ ref, sessionId, feed, view, onStop, blind }: Props) {
  const { t } = useTranslation();
  const [text, setText] = useState(() => keptDraft(sessionId));
  const [images, setImages] = useState<Attached[]>([]);
  const [over, setOver] = useState(false);
  const area = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const working = view.session.activity === "working";
  const sendable = text.trim() !== "" || images.length > 0;
  const command = view.capabilities?.includes("bash") && images.length === 0 ? commandIn(text) : null;

  useImperativeHandle(ref, () => ({
    insert: (more) => {
      change(text ? `${text}\n${more}` : more);
      area.current?.focus();
    },
  }));

  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text.
  useEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, MAX_HEIGHT_PX)}px`;
  }, [text]);

  useEffect(() => {
    // On a touch screen the keyboard would cover what one came to read.
    if (window.matchMedia?.("(pointer: fine)").matches) area.current?.focus();
  }, []);

  function change(value: string) {
    setText(value);
    keepDraft(sessionId, value);
  }

  async function attach(files: File[]) {
    const { taken, refused } = sift(files, images);
    for (const { reason, name } of refused) {
      say(
        t(`image.${reason}`, {
          name,
          size: bytes(MAX_IMAGE_BYTES),
          total: bytes(MAX_TOTAL_BYTES),
          count: MAX_IMAGES,
        }),
      );
    }
    try {
      const fresh = await Promise.all(taken.map(read));
      setImages((before) => [...before, ...fresh].slice(0, MAX_IMAGES));
    } catch (error) {
      sayError(error);
    }
  }

  function submit(kind: InputKind) {
    if (!sendable) return;
    if (command !== null) {
      feed.runCommand(command).catch(sayError);
      setText("");
      forgetDraft(sessionId);
      return;
    }
    if (view.outbox.length >= MAX_OUTGOING) return say(t("composer.full"));
    if (kind !== "prompt" && images.length > 0) return say(t("composer.imagesWait"));
    feed.send(
      kind,
      text.trim(),
      images.map(({ data, media_type }) => ({ data, media_type })),
    );
    setText("");
    setImages([]);
    forgetDraft(sessionId);
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit(!working ? "prompt" : event.altKey ? "follow_up" : "steer");
  }

  return (
    <section
      aria-label={t("composer.label")}
      className={cx(
        "rounded-2xl border bg-raised transition-colors focus-within:border-line-strong",
        over && "border-accent bg-accent-wash",
      )}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        void attach([...event.dataTransfer.files]);
      }}
    >
      <AttachedImages
        images={images}
        onRemove={(id) => setImages(images.filter((image) => image.id !== id))}
      />
      {blind && images.length > 0 && (
        <p role="alert" data-testid="images-unseen" className="px-4 pt-2.5 text-sm text-warn">
          {t("image.unseen")}
        </p>
      )}
      <textarea
        ref={area}
        data-testid="composer"
        aria-label={t("composer.label")}
        placeholder={working ? t("composer.steer") : t("composer.prompt")}
        rows={1}
        value={text}
        onChange={(event) => change(event.target.value)}
        onKeyDown={onKeyDown}
        onPaste={(event) => {
          const files = [...event.clipboardData.files];
          if (files.length === 0) return;
          event.preventDefault();
          void attach(files);
        }}
        className="block max-h-65 w-full resize-none bg-transparent px-4 pt-3 pb-1 outline-none pointer-coarse:text-base"
      />
      <div className="flex items-center gap-1 px-2 pb-2">
        <IconButton label={t("image.add")} onClick={() => picker.current?.click()}>
          <ImagePlus size={17} />
        </IconButton>
        <input
          ref={picker}
          type="file"
          accept={IMAGE_TYPES.join(",")}
          multiple
          hidden
          data-testid="image-picker"
          onChange={(event) => {
            void attach([...(event.target.files ?? [])]);
            event.target.value = "";
          }}
        />
        <span className="min-w-0 flex-1 truncate px-1 text-xs text-faint max-sm:invisible">
          {command !== null
            ? t("composer.keysCommand")
            : working
              ? t("composer.keysWorking")
              : t("composer.keys")}
        </span>
        {working && (
          <button
            type="button"
            data-testid="stop"
            onClick={onStop}
            title={`${t("composer.stop")} (Esc)`}
            className="flex h-9 items-center gap-2 rounded-xl border px-3 text-sm font-medium hover:border-line-strong pointer-coarse:h-11"
          >
            <Square size={12} className="fill-bad text-bad" />
            {t("composer.stop")}
          </button>
        )}
        {working && sendable && (
          <IconButton
            label={`${t("composer.sendLater")} (Alt Enter)`}
            data-testid="send-later"
            onClick={() => submit("follow_up")}
          >
            <ListEnd size={17} />
          </IconButton>
        )}
        {(!working || sendable) && (
          <button
            type="button"
            data-testid="send"
            aria-label={working ? t("composer.sendSteer") : t("composer.send")}
            disabled={!sendable}
            onClick={() => submit(working ? "steer" : "prompt")}
            className="grid size-9 place-items-center rounded-xl bg-accent text-accent-ink transition-opacity disabled:bg-sunken disabled:text-faint pointer-coarse:size-11"
          >
            <ArrowUp size={18} />
          </button>
        )}
      </div>
    </section>
  );
}
