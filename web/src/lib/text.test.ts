import { expect, test } from "vitest";
import { diffLines, parseUnified } from "./diff";
import { ago, cost, duration, folderName, folderParent, tokens } from "./format";
import { markdownBlocks } from "./markdown-blocks";
import { outputImages, outputText, toolSummary } from "./tool-view";

test("Markdown is cut at blank lines, but not inside fences and lists", () => {
  expect(markdownBlocks("a\n\nb")).toEqual(["a\n", "b"]);
  expect(markdownBlocks("```\na\n\nb\n```\n\nc")).toHaveLength(2);
  expect(markdownBlocks("1. a\n\n2. b\n\n   more\n\nend")).toEqual(["1. a\n\n2. b\n\n   more\n", "end"]);
  expect(markdownBlocks("~~~\n```\n\n~~~\n\nx")).toHaveLength(2);
});

test("blocks put together again are the text", () => {
  const text = "# t\n\npara\n\n- a\n\n- b\n\n```js\n\n\nx\n```\n\n> q\n\nend";
  expect(markdownBlocks(text).join("\n")).toBe(text);
});

test("a text with definitions stays whole, because they may be used anywhere", () => {
  expect(markdownBlocks("see [a]\n\n[a]: https://example.org")).toHaveLength(1);
});

test("a diff keeps what is common and marks the rest", () => {
  expect(diffLines("a\nb\nc", "a\nx\nc").map((line) => line.kind + line.text)).toEqual([
    "samea",
    "delb",
    "addx",
    "samec",
  ]);
  expect(diffLines("", "new")).toEqual([{ kind: "add", text: "new" }]);
  expect(parseUnified("--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n z").map((line) => line.kind)).toEqual([
    "del",
    "add",
    "same",
  ]);
});

test("a diff of very long texts ends in time", () => {
  const long = Array.from({ length: 5000 }, (_, n) => `l${n}`).join("\n");
  expect(diffLines(long, `${long}\nx`)).toHaveLength(10_001);
});

test("a tool's line says what it does, even while its input still streams", () => {
  expect(toolSummary("bash", { command: "ls -l" })).toBe("ls -l");
  expect(toolSummary("edit", { file_path: "a.rs", old_string: "x" })).toBe("a.rs");
  expect(toolSummary("bash", undefined, '{"command":"cargo te')).toBe("cargo te");
  expect(toolSummary("unknown", { query: "q" })).toBe("q");
});

test("output is text in whichever shape it comes; images are taken only of known types", () => {
  expect(
    outputText({
      content: [
        { type: "text", text: "a" },
        { type: "text", text: "b" },
      ],
    }),
  ).toBe("a\nb");
  expect(outputText("plain")).toBe("plain");
  expect(outputText(null)).toBe("");
  const image = (mimeType: string) => ({ content: [{ type: "image", data: "AAAA", mimeType }] });
  expect(outputImages(image("image/png"))).toEqual(["data:image/png;base64,AAAA"]);
  expect(outputImages(image("image/svg+xml"))).toEqual([]);
});

test("figures read as people say them", () => {
  expect([duration(12), duration(1500), duration(42_000), duration(125_000)]).toEqual([
    "12 ms",
    "1.5 s",
    "42 s",
    "2 min 5 s",
  ]);
  expect([tokens(999), tokens(1500), tokens(12_345), tokens(2_500_000)]).toEqual([
    "999",
    "1.5k",
    "12k",
    "2.5M",
  ]);
  expect([cost(0), cost(0.0042), cost(1.5)]).toEqual(["$0", "$0.0042", "$1.50"]);
  expect([ago(0, 30_000, "en", "now"), ago(0, 300_000, "en", "now"), ago(0, 7_200_000, "en", "now")]).toEqual(
    ["now", "5m", "2h"],
  );
  expect([folderName("/srv/octo/"), folderName("/"), folderParent("/srv/octo")]).toEqual([
    "octo",
    "/",
    "/srv",
  ]);
});
