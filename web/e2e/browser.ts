/** The browser and the log in that every end-to-end test begins with. */
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";

export function env(name: string, fallback?: string): string {
  const value = process.env[name] ?? fallback;
  if (value === undefined) throw new Error(`set ${name}`);
  return value;
}

const MAX_FRAMES = 60;
const MAX_FRAME_CHARS = 400;
const frames = new WeakMap<Page, string[]>();

/** Keeps the newest frames of a page's WebSocket, for when the test fails: what was asked, and what was answered. */
function record(page: Page): void {
  const kept: string[] = [];
  frames.set(page, kept);
  const note = (line: string) => {
    kept.push(`${new Date().toISOString()} ${line}`);
    if (kept.length > MAX_FRAMES) kept.shift();
  };
  page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => note(`> ${String(payload).slice(0, MAX_FRAME_CHARS)}`));
    socket.on("framereceived", ({ payload }) => note(`< ${String(payload).slice(0, MAX_FRAME_CHARS)}`));
    socket.on("close", () => note("the socket is closed"));
  });
}

/** Runs a test in a browser of its own. When it fails, says what every page showed and what went over its socket. */
export async function journey(test: (browser: Browser) => Promise<void>): Promise<void> {
  const browser = await launch();
  try {
    await test(browser);
  } catch (error) {
    for (const page of browser.contexts().flatMap((context) => context.pages())) {
      const shown = await page.evaluate(() => document.body.innerText);
      const said = (frames.get(page) ?? []).join("\n");
      process.stderr.write(`--- ${page.url()} shows\n${shown}\n--- its newest frames\n${said}\n---\n`);
    }
    throw error;
  } finally {
    await browser.close();
  }
}

/** A page whose socket is recorded. */
export async function newPage(context: BrowserContext): Promise<Page> {
  const page = await context.newPage();
  record(page);
  return page;
}

/** Without the flags against background traffic, refused connections slow everything down. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: env("OCTO_CHROMIUM", "/usr/bin/chromium"),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

export const DESKTOP: BrowserContextOptions = { viewport: { width: 1280, height: 800 }, locale: "en" };
export const PHONE: BrowserContextOptions = {
  viewport: { width: 390, height: 844 },
  hasTouch: true,
  isMobile: true,
  locale: "en",
};

/** What the page complained of: an error in a script, or something the security policy refused. */
export function complaints(page: Page): string[] {
  const found: string[] = [];
  page.on("pageerror", (error) => found.push(error.message));
  page.on("console", (message) => {
    const text = message.text();
    // Before the log in, asking who is there is answered with 401; that is how one finds out.
    if (message.type() === "error" && !text.includes("401")) found.push(text);
  });
  return found;
}

/** Opens an address of octo's and logs in where it asks for it. */
export async function open(page: Page, path: string): Promise<void> {
  await page.goto(new URL(path, env("OCTO_URL")).href);
  const form = page.getByTestId("login-form");
  await form.or(page.locator("#main")).first().waitFor();
  if (!(await form.isVisible())) return;
  await page.locator("input[name=username]").fill(env("OCTO_USERNAME"));
  await page.locator("input[name=password]").fill(env("OCTO_PASSWORD"));
  await form.locator("button[type=submit]").click();
  await page.locator("#main").waitFor();
}

/** Makes a session in a folder by the dialog and gives its id. `agent` is chosen where it is named. */
export async function newSession(
  page: Page,
  folder: string,
  { model = "demo/scripted", agent }: { model?: string; agent?: string } = {},
): Promise<string> {
  const before = page.url();
  await page.getByTestId("new-session").click();
  const dialog = page.getByTestId("new-session-dialog");
  await dialog.getByTestId("folder").fill(folder);
  if (agent) await dialog.getByTestId("agent-picker").getByText(agent, { exact: true }).click();
  await dialog.locator(`input[type=radio][value="${model}"]`).check();
  await dialog.getByTestId("create-session").click();
  await page.waitForURL((url) => url.pathname.startsWith("/s/") && url.href !== before, { timeout: 60_000 });
  await page.getByTestId("chat").waitFor();
  return new URL(page.url()).pathname.slice("/s/".length);
}
