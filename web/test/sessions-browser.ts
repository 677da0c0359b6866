/** Sessions by hand: rename, find, delete, another theme, log out, and a login that ends elsewhere. Fake server. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { complaints, DESKTOP, launch, newSession, open } from "../e2e/browser.ts";
import { startFakeServer, USER } from "./fake-server.ts";

const server = await startFakeServer({ dist: fileURLToPath(new URL("../dist", import.meta.url)) });
Object.assign(process.env, {
  OCTO_URL: server.url,
  OCTO_USERNAME: USER.username,
  OCTO_PASSWORD: USER.password,
});
const browser = await launch();
try {
  const page = await (await browser.newContext(DESKTOP)).newPage();
  const found = complaints(page);
  await open(page, "/");
  const id = await newSession(page, "/srv/octo");
  const row = page.locator(`[data-session=${id}]`);

  await row.hover();
  await row.getByRole("button", { name: /Actions for/ }).click();
  await page.getByRole("menuitem", { name: "Rename" }).click();
  await page.keyboard.type("A better name");
  await page.keyboard.press("Enter");
  await row.getByText("A better name").waitFor();
  assert.equal(await page.getByTestId("chat-title").textContent(), "A better name");

  await page.getByTestId("model-menu").click();
  await page.getByRole("menuitemcheckbox", { name: /Qwen3/ }).click();
  await page.getByTestId("model-menu").getByText("Qwen3 Coder 30B").waitFor();

  await page.keyboard.press("Control+k");
  await page.getByTestId("palette").waitFor();
  await page.keyboard.type("dark");
  await page.keyboard.press("Enter");
  await page.locator("html[data-theme=dark]").waitFor({ state: "attached" });
  await page.reload();
  await page.locator("html[data-theme=dark]").waitFor({ state: "attached" });
  await page.getByTestId("composer").waitFor();

  // The server takes the login back: the page asks for it again and returns to the same session.
  await page.context().clearCookies();
  server.cut();
  await page.getByTestId("login-form").waitFor();
  await open(page, new URL(page.url()).pathname + new URL(page.url()).search);
  await page.getByTestId("chat-title").getByText("A better name").waitFor();

  await row.hover();
  await row.getByRole("button", { name: /Actions for/ }).click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await page.getByTestId("confirm-delete").click();
  await page.getByTestId("home").waitFor();
  await row.waitFor({ state: "detached" });

  await page.getByTestId("account").click();
  await page.getByRole("menuitem", { name: "Log out" }).click();
  await page.getByTestId("login-form").waitFor();
  await page.goto(`${server.url}/`);
  await page.getByTestId("login-form").waitFor();
  // The browser itself notes the socket that was refused after the login ended.
  const unexpected = found.filter((text) => !text.includes("HTTP Authentication failed"));
  assert.deepEqual(unexpected, [], "the page had nothing else to complain of");
} finally {
  await browser.close();
  await server.close();
}
process.stdout.write("sessions: all well\n");
