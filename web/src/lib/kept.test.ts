import { beforeEach, expect, test } from "vitest";
import { forgetKept, keepFor, Shelf } from "./kept";

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
});

test("what is kept outlives the shelf, until it is put away", () => {
  new Shelf<string>(() => localStorage, "draft", 3, 100).put("a", "text");
  const shelf = new Shelf<string>(() => localStorage, "draft", 3, 100);
  expect(shelf.get("a")).toBe("text");
  expect(shelf.ids()).toEqual(["a"]);
  shelf.put("a", null);
  expect(shelf.get("a")).toBeNull();
});

test("a shelf stays within its bounds: of many the oldest go, and what is too long is not kept", () => {
  const shelf = new Shelf<string>(() => localStorage, "draft", 3, 100);
  for (const id of ["a", "b", "c", "d", "e"]) shelf.put(id, id);
  expect(shelf.ids()).toHaveLength(3);
  expect(shelf.get("e")).toBe("e");
  shelf.put("e", "x".repeat(101));
  expect(shelf.get("e")).toBeNull();
});

test("nobody finds what another person wrote", () => {
  const drafts = new Shelf<string>(() => localStorage, "draft", 3, 100);
  keepFor("alice");
  drafts.put("a", "mine");
  keepFor("alice");
  expect(drafts.get("a")).toBe("mine");
  keepFor("bob");
  expect(drafts.get("a")).toBeNull();
  drafts.put("b", "his");
  forgetKept();
  expect(drafts.get("b")).toBeNull();
});

test("where nothing may be kept, nothing fails", () => {
  const shelf = new Shelf<string>(
    () => {
      throw new Error("denied");
    },
    "draft",
    3,
    100,
  );
  shelf.put("a", "text");
  expect(shelf.get("a")).toBeNull();
  expect(shelf.ids()).toEqual([]);
});
