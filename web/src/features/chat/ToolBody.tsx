/** What stands under a tool's head line, by kind of tool. */
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type DiffLine, parseUnified } from "@/lib/diff";
import type { ToolRun } from "@/lib/session/state";
import {
  editDiff,
  languageOf,
  outputImages,
  outputText,
  type ToolKind,
  toolSummary,
  writtenText,
} from "@/lib/tool-view";
import { cx } from "@/ui/cx";
import { Code } from "./CodeBlock";

/** Lines that are shown before "show all". The height is the same while output grows and afterwards. */
const PREVIEW_LINES = 12;
/** More than this is never put on the page at once. */
const MAX_SHOWN = 200_000;

export function ToolBody({ kind, args, run }: { kind: ToolKind; args: unknown; run?: ToolRun }) {
  const text = outputText(run?.output);
  const images = outputImages(run?.output);
  const failed = run?.phase === "error";
  return (
    <>
      {kind === "bash" && <Command text={toolSummary("bash", args)} />}
      {kind === "edit" && <Diff lines={editLines(args, run)} />}
      {kind === "write" && (
        <Preview text={writtenText(args)} language={languageOf(toolSummary("write", args))} />
      )}
      {kind === "other" && <Arguments args={args} />}
      {(failed || (kind !== "edit" && kind !== "write")) && (
        <Output text={text} failed={failed} running={run?.phase === "running"} tail={kind === "bash"} />
      )}
      {images.map((src) => (
        <img
          key={src.length}
          src={src}
          alt=""
          className="m-3 max-h-80 max-w-[calc(100%-1.5rem)] rounded-lg border"
        />
      ))}
    </>
  );
}

function editLines(args: unknown, run?: ToolRun): DiffLine[] {
  const own = editDiff(args);
  if (own) return own;
  const details = (run?.output as { details?: { diff?: unknown } } | undefined)?.details?.diff;
  return typeof details === "string" ? parseUnified(details) : [];
}

function Command({ text }: { text: string }) {
  // A command of one line stands in the head already.
  if (!text.includes("\n")) return null;
  return (
    <div className="border-t px-3 py-2">
      <Preview text={text} language="bash" bare />
    </div>
  );
}

function Arguments({ args }: { args: unknown }) {
  if (args === undefined || args === null || JSON.stringify(args) === "{}") return null;
  return <Preview text={JSON.stringify(args, null, 2)} language="json" />;
}

function Output({
  text,
  failed,
  running,
  tail,
}: {
  text: string;
  failed: boolean;
  running: boolean;
  tail: boolean;
}) {
  const { t } = useTranslation();
  const clean = text.replace(/\s+$/, "");
  if (!clean) {
    return (
      <p className="border-t px-3 py-2 text-xs text-faint">
        {running ? t("tool.noOutputYet") : t("tool.noOutput")}
      </p>
    );
  }
  return (
    <Clip text={clean} tail={tail}>
      {(shown) => (
        <pre
          data-testid="tool-output"
          className={cx(
            "overflow-x-auto px-3 py-2 font-mono text-[12.5px] leading-normal whitespace-pre-wrap [overflow-wrap:anywhere]",
            failed ? "text-ink" : "text-soft",
          )}
        >
          {shown}
        </pre>
      )}
    </Clip>
  );
}

function Preview({ text, language, bare }: { text: string; language: string; bare?: boolean }) {
  if (!text) return null;
  return (
    <Clip text={text.replace(/\n$/, "")} bare={bare}>
      {(shown) => <Code code={shown} language={language} className={bare ? "" : "px-3 py-2"} />}
    </Clip>
  );
}

/** Shows the beginning (or the end) of a long text, and all of it when asked. */
function Clip({
  text,
  tail,
  bare,
  children,
}: {
  text: string;
  tail?: boolean;
  bare?: boolean;
  children: (shown: string) => React.ReactNode;
}) {
  const { t } = useTranslation();
  const [whole, setWhole] = useState(false);
  const lines = text.split("\n");
  const hidden = lines.length - PREVIEW_LINES;
  const long = hidden > 2;
  const part = tail ? lines.slice(-PREVIEW_LINES) : lines.slice(0, PREVIEW_LINES);
  const shown = long && !whole ? part.join("\n") : text;
  const toggle = long && (
    <button
      type="button"
      onClick={() => setWhole(!whole)}
      className="w-full px-3 py-1 text-left text-xs text-info hover:underline pointer-coarse:py-2.5"
    >
      {whole ? t("tool.less") : t("tool.more", { count: hidden })}
    </button>
  );
  return (
    <div className={bare ? "" : "border-t"}>
      {tail && toggle}
      {children(shown.length > MAX_SHOWN ? shown.slice(-MAX_SHOWN) : shown)}
      {!tail && toggle}
    </div>
  );
}

const marks = { same: " ", del: "−", add: "+" } as const;

function Diff({ lines }: { lines: DiffLine[] }) {
  const { t } = useTranslation();
  const [whole, setWhole] = useState(false);
  if (lines.length === 0) return null;
  const shown = whole ? lines : lines.slice(0, PREVIEW_LINES * 2);
  return (
    <div
      className="overflow-x-auto border-t py-1.5 font-mono text-[12.5px] leading-normal"
      data-testid="diff"
      tabIndex={0}
    >
      <div className="w-max min-w-full">
        {shown.map((line, n) => (
          <div
            // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other identity.
            key={n}
            className={cx(
              "flex px-3 whitespace-pre",
              line.kind === "del" && "bg-bad-wash text-bad",
              line.kind === "add" && "bg-good-wash text-good",
              line.kind === "same" && "text-soft",
            )}
          >
            <span className="w-4 shrink-0 select-none">{marks[line.kind]}</span>
            <span>{line.text || " "}</span>
          </div>
        ))}
      </div>
      {lines.length > shown.length && (
        <button
          type="button"
          onClick={() => setWhole(true)}
          className="px-3 py-1 font-sans text-xs text-info hover:underline"
        >
          {t("tool.more", { count: lines.length - shown.length })}
        </button>
      )}
    </div>
  );
}
