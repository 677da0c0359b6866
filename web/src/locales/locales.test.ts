import { expect, test } from "vitest";
import { de } from "./de";
import { en } from "./en";

type Tree = { [key: string]: string | Tree };

function flat(tree: Tree, prefix = ""): [string, string][] {
  return Object.entries(tree).flatMap(([key, value]) =>
    typeof value === "string" ? [[prefix + key, value] as [string, string]] : flat(value, `${prefix}${key}.`),
  );
}

test("German and English have the same keys", () => {
  expect(flat(de).map(([key]) => key)).toEqual(flat(en).map(([key]) => key));
});

test("both languages fill in the same values, and none is empty", () => {
  const slots = (text: string) => [...text.matchAll(/\{\{\w+\}\}/g)].map(String).sort();
  const german = new Map(flat(de));
  for (const [key, text] of flat(en)) {
    expect(text, key).not.toBe("");
    expect(slots(german.get(key) ?? ""), key).toEqual(slots(text));
  }
});

test("every key that the code names exists", async () => {
  const files = import.meta.glob("../**/*.tsx", { query: "?raw", import: "default", eager: true }) as Record<
    string,
    string
  >;
  const known = new Set(flat(en).map(([key]) => key.replace(/_(one|other)$/, "")));
  const used = Object.values(files).flatMap((code) =>
    [...code.matchAll(/\bt\(\s*"([^"]+)"/g)].map((match) => match[1]),
  );
  expect(used.length).toBeGreaterThan(100);
  expect(used.filter((key) => !known.has(key as string))).toEqual([]);
});
