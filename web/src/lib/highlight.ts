/**
 * Syntax colours, loaded when the first code block wants them; each language is a file of its own.
 * The theme consists of the names of our CSS tokens, so light and dark need no second run.
 */
import type { HighlighterCore, ThemedToken } from "shiki/core";

const grammars = {
  bash: () => import("shiki/langs/bash.mjs"),
  c: () => import("shiki/langs/c.mjs"),
  css: () => import("shiki/langs/css.mjs"),
  diff: () => import("shiki/langs/diff.mjs"),
  go: () => import("shiki/langs/go.mjs"),
  html: () => import("shiki/langs/html.mjs"),
  json: () => import("shiki/langs/json.mjs"),
  markdown: () => import("shiki/langs/markdown.mjs"),
  python: () => import("shiki/langs/python.mjs"),
  rust: () => import("shiki/langs/rust.mjs"),
  sql: () => import("shiki/langs/sql.mjs"),
  toml: () => import("shiki/langs/toml.mjs"),
  tsx: () => import("shiki/langs/tsx.mjs"),
  typescript: () => import("shiki/langs/typescript.mjs"),
  yaml: () => import("shiki/langs/yaml.mjs"),
};

export type Grammar = keyof typeof grammars;

const aliases: Record<string, Grammar> = {
  sh: "bash",
  shell: "bash",
  zsh: "bash",
  console: "bash",
  h: "c",
  cpp: "c",
  cc: "c",
  hpp: "c",
  patch: "diff",
  xml: "html",
  svg: "html",
  vue: "html",
  jsonc: "json",
  jsonl: "json",
  md: "markdown",
  py: "python",
  rs: "rust",
  js: "typescript",
  mjs: "typescript",
  cjs: "typescript",
  javascript: "typescript",
  ts: "typescript",
  mts: "typescript",
  jsx: "tsx",
  yml: "yaml",
  ini: "toml",
  conf: "toml",
};

/** Longer code stays plain: colouring it would hold the page up. */
const MAX_CODE = 60_000;

let core: Promise<HighlighterCore> | undefined;

async function start(): Promise<HighlighterCore> {
  const [{ createHighlighterCore, createCssVariablesTheme }, { createJavaScriptRegexEngine }] =
    await Promise.all([import("shiki/core"), import("shiki/engine/javascript")]);
  const theme = createCssVariablesTheme({ name: "octo", variablePrefix: "--shiki-", fontStyle: true });
  return createHighlighterCore({
    themes: [theme],
    langs: [],
    engine: createJavaScriptRegexEngine({ forgiving: true }),
  });
}

export function grammarOf(language: string): Grammar | null {
  const name = language.toLowerCase();
  if (name in grammars) return name as Grammar;
  return aliases[name] ?? null;
}

/** The lines of a code text as coloured tokens, or `null` where there is nothing to colour. */
export async function highlight(code: string, language: string): Promise<ThemedToken[][] | null> {
  const grammar = grammarOf(language);
  if (!grammar || code.length > MAX_CODE) return null;
  core ??= start();
  const shiki = await core;
  if (!shiki.getLoadedLanguages().includes(grammar)) await shiki.loadLanguage(grammars[grammar]());
  return shiki.codeToTokensBase(code, { lang: grammar, theme: "octo" });
}
