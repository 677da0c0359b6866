import { Check, Copy } from "lucide-react";
import { memo, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { ThemedToken } from "shiki/core";
import { highlight } from "@/lib/highlight";
import { IconButton } from "@/ui/Button";
import { sayError } from "../shell/ui-state";

/** While code streams, colours follow at this pace; the text itself is never behind. */
const COLOUR_PAUSE_MS = 120;
const COPIED_MS = 1_600;

export const CodeBlock = memo(function CodeBlock({ code, language }: { code: string; language: string }) {
  return (
    <div className="group/code relative overflow-hidden rounded-[10px] border bg-sunken/60">
      <div className="flex h-8 items-center justify-between pr-1 pl-3 text-xs text-faint">
        <span>{language}</span>
        <CopyButton text={code} />
      </div>
      <Code code={code} language={language} className="px-3 pb-3" />
    </div>
  );
});

/** Code in colours, without a frame. */
export function Code({ code, language, className }: { code: string; language: string; className?: string }) {
  const tokens = useTokens(code, language);
  return (
    <pre
      tabIndex={0}
      className={`overflow-x-auto font-mono text-[13px] leading-[1.55] [tab-size:2] ${className ?? ""}`}
    >
      <code>{tokens ? <Coloured lines={tokens.lines} rest={code.slice(tokens.length)} /> : code}</code>
    </pre>
  );
}

function Coloured({ lines, rest }: { lines: ThemedToken[][]; rest: string }) {
  return (
    <>
      {lines.map((line, n) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other identity.
        <span key={n}>
          {n > 0 && "\n"}
          {line.map((token) => (
            <span key={token.offset} style={token.color ? { color: token.color } : undefined}>
              {token.content}
            </span>
          ))}
        </span>
      ))}
      {rest}
    </>
  );
}

interface Tokens {
  lines: ThemedToken[][];
  /** How much of the code they cover. */
  length: number;
}

function useTokens(code: string, language: string): Tokens | null {
  const [tokens, setTokens] = useState<(Tokens & { code: string }) | null>(null);
  const latest = useRef({ code, language });
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const first = useRef(true);

  useEffect(() => {
    latest.current = { code, language };
    // One run at a time, at its own pace: waiting for a pause in the stream could mean waiting for its end.
    if (timer.current !== undefined) return;
    const wait = first.current ? 0 : COLOUR_PAUSE_MS;
    first.current = false;
    timer.current = setTimeout(() => {
      timer.current = undefined;
      const now = latest.current;
      highlight(now.code, now.language).then(
        (lines) => setTokens(lines && { lines, length: now.code.length, code: now.code }),
        // Colours are an ornament: without them the code is still there.
        () => undefined,
      );
    }, wait);
  }, [code, language]);

  useEffect(
    () => () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    },
    [],
  );

  return tokens && code.startsWith(tokens.code) ? tokens : null;
}

export function CopyButton({ text }: { text: string }) {
  const { t } = useTranslation();
  const [copied, setCopied] = useState(false);

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      setTimeout(() => setCopied(false), COPIED_MS);
    } catch {
      sayError(t("copyFailed"));
    }
  }

  return (
    <IconButton label={copied ? t("copied") : t("copy")} onClick={() => void copy()} className="size-7">
      {copied ? <Check size={14} className="text-good" /> : <Copy size={14} />}
    </IconButton>
  );
}
