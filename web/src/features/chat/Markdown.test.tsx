import { expect, test } from "vitest";
import { show } from "../../../test/render";
import { Markdown } from "./Markdown";

test("HTML in a message is text and never an element", () => {
  const { container } = show(
    <Markdown text={'<img src=x onerror="alert(1)"> <script>alert(1)</script> **b**'} />,
  );
  expect(container.querySelector("img, script")).toBeNull();
  expect(container.querySelector("strong")?.textContent).toBe("b");
});

test("links open apart and carry no way back; script addresses are dropped", () => {
  const { container } = show(<Markdown text={"[a](https://example.org) [b](javascript:alert(1))"} />);
  const [good, bad] = container.querySelectorAll("a");
  expect(good?.rel).toContain("noopener");
  expect(bad?.getAttribute("href") ?? "").not.toContain("javascript");
});

test("an image from elsewhere is a link, not a request", () => {
  const { container } = show(<Markdown text={"![a plot](https://example.org/p.png)"} />);
  expect(container.querySelector("img")).toBeNull();
  expect(container.querySelector("a")?.textContent).toBe("a plot");
});

test("a block of a size that no person wrote is shown plainly, and wholly", () => {
  const { container } = show(<Markdown text={`${"*a* ".repeat(20_000)}end`} />);
  expect(container.querySelector("em")).toBeNull();
  expect(container.textContent?.endsWith("end")).toBe(true);
});

test("an open code fence is shown as code while it streams", () => {
  const { container } = show(<Markdown text={"Look:\n\n```rust\nlet a = 1;\n\nlet b"} />);
  expect(container.querySelector("pre")?.textContent).toBe("let a = 1;\n\nlet b");
});
