/** Screenshots of the built application against the fake server, to be looked at. `node test/shots.ts OUT` */
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium, type Page } from "playwright-core";
import { startFakeServer, USER } from "./fake-server.ts";

const out = process.argv[2] ?? "shots";
await mkdir(out, { recursive: true });
const dist = fileURLToPath(new URL("../dist", import.meta.url));
const server = await startFakeServer({ dist });
const { octo } = server;
const folders = ["/srv/octo", "/home/ada/shop", "/home/ada/notes"];
const titles = [
  "Document the resume rules",
  "Slow checkout query",
  "Weekly summary",
  "Upgrade to axum 0.8",
  "Find the flaky test",
  "Invoice layout",
];
for (const [n, title] of titles.entries()) {
  const session = octo.create(`ses_old${n}`, folders[n % 3] as string, title);
  session.activity = Date.now() - n * n * 2_700_000 - 60_000;
}

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
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
const problems: string[] = [];

async function login(page: Page): Promise<void> {
  await page.goto(`${server.url}/login`);
  await page.getByLabel("Username").fill(USER.username);
  await page.getByLabel("Password", { exact: true }).fill(USER.password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByTestId("home").waitFor();
}

try {
  for (const [device, viewport] of [
    ["desktop", { width: 1280, height: 800 }],
    ["phone", { width: 390, height: 844 }],
  ] as const) {
    for (const colorScheme of ["light", "dark"] as const) {
      const phone = device === "phone";
      const context = await browser.newContext({
        viewport,
        colorScheme,
        hasTouch: phone,
        isMobile: phone,
        locale: "en",
      });
      const page = await context.newPage();
      page.on("console", (message) => problems.push(`${message.type()}: ${message.text()}`));
      page.on("pageerror", (error) => problems.push(`pageerror: ${error.message}`));
      let n = 0;
      const shot = async (name: string) => {
        n += 1;
        await page.waitForTimeout(220);
        await page.screenshot({ path: `${out}/${device}-${colorScheme}-${n}-${name}.png` });
      };
      await page.goto(`${server.url}/s/ses_old0`);
      await page.getByTestId("login-form").waitFor();
      await shot("login");
      await login(page);
      await page.getByText("Weekly summary").first().waitFor({ state: "attached" });
      await shot("home");
      if (phone) {
        await page.getByRole("button", { name: "Show sessions" }).click();
        await shot("drawer");
        await page.getByTestId("new-session").click();
      } else await page.getByTestId("new-session").click();
      await page.getByTestId("folder").fill("/srv/octo");
      await shot("new");
      await page.getByTestId("create-session").click();
      await page.getByTestId("empty-chat").waitFor();
      await shot("empty");
      await page
        .getByTestId("composer")
        .fill("The preview breaks code blocks that contain blank lines. Find out why and repair it.");
      await page.keyboard.press("Enter");
      await page.getByTestId("tool-output").first().waitFor();
      await page.waitForTimeout(500);
      await shot("tool");
      await page.getByTestId("composer").fill("Keep the public function's signature as it is.");
      await page.keyboard.press("Enter");
      await page.getByTestId("queue").waitFor();
      await shot("queue");
      await page.getByText("All 41 tests pass").first().waitFor({ timeout: 60_000 });
      await page.getByTestId("stop").click();
      await page.locator("[data-activity=idle]").waitFor({ timeout: 30_000 });
      await page.waitForTimeout(600);
      await shot("done");
      if (await page.getByTestId("parked").isVisible()) await shot("parked");
      await page.getByTestId("composer").fill("Ask for permission, please");
      await page.keyboard.press("Enter");
      await page.getByTestId("request").waitFor();
      await shot("permission");
      await page.getByRole("button", { name: "Allow", exact: true }).click();
      await page.getByText("the cache is empty").first().waitFor();
      await page.locator("[data-activity=idle]").waitFor();
      await page.getByTestId("composer").fill("Now retry");
      await page.keyboard.press("Enter");
      await page.getByText("second attempt").first().waitFor();
      await page.locator("[data-activity=idle]").waitFor();
      await shot("notices");
      await page.goto(`${server.url}/actors`);
      await page.getByTestId("actor-line").first().waitFor();
      await page.waitForTimeout(4_000);
      await shot("actors");
      await page.getByTestId("only-wrong").click();
      await page.getByTestId("actor-line").last().click();
      await page.getByTestId("json").waitFor();
      await shot("actor");
      await page.getByTestId("panel-close").click();
      await page.getByTestId("only-wrong").click();
      if (!phone) {
        await page.keyboard.press("Control+k");
        await page.getByTestId("palette").waitFor();
        await shot("palette");
      }
      await context.close();
    }
  }
} finally {
  await browser.close();
  await server.close();
}
process.stdout.write(`${problems.join("\n") || "console clean"}\n`);
