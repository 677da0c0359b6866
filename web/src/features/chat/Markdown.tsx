/**
 * Markdown from an agent. HTML in it is shown as text and never becomes part of the page; images from
 * elsewhere are links, because loading one would tell its server who reads here.
 */
import { ImageOff } from "lucide-react";
import { isValidElement, memo, type ReactNode } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { markdownBlocks } from "@/lib/markdown-blocks";
import { CodeBlock } from "./CodeBlock";

const plugins = [remarkGfm];

const components: Components = {
  a: ({ href, children }) => (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  ),
  img: ({ src, alt }) =>
    typeof src === "string" ? (
      <a href={src} target="_blank" rel="noopener noreferrer nofollow">
        <ImageOff size={14} className="mr-1 inline align-[-2px]" />
        {alt || src}
      </a>
    ) : null,
  pre: ({ children }) => {
    if (!isValidElement<{ className?: string; children?: ReactNode }>(children)) return <pre>{children}</pre>;
    const language = /language-(\S+)/.exec(children.props.className ?? "")?.[1] ?? "";
    return <CodeBlock code={String(children.props.children ?? "").replace(/\n$/, "")} language={language} />;
  },
  table: ({ children }) => (
    <div className="table-scroll">
      <table>{children}</table>
    </div>
  ),
  input: ({ checked }) => (
    <input type="checkbox" checked={checked ?? false} readOnly disabled className="mr-1.5 accent-accent" />
  ),
};

/** A single block longer than this stays plain: parsing it again for every piece would hold the page up. */
const MAX_BLOCK = 40_000;

const Block = memo(function Block({ text }: { text: string }) {
  if (text.length > MAX_BLOCK) return <p className="whitespace-pre-wrap">{text}</p>;
  return (
    <ReactMarkdown remarkPlugins={plugins} components={components}>
      {text}
    </ReactMarkdown>
  );
});

export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return (
    <div className="prose">
      {markdownBlocks(text).map((block, n) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a streaming text only grows at its end.
        <Block key={n} text={block} />
      ))}
    </div>
  );
});
