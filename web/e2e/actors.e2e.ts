/**
 * The page of actors, on both sides of the link: an agent is killed and its restart is seen as it happens, killed
 * beyond what it may be restarted it is shown as down, and one click brings it back. Then the same page with two
 * thousand actors, and what one update of them costs.
 *
 * Whoever runs this kills the agent, or octo, when a line on stdout asks for it.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { complaints, DESKTOP, env, journey, newPage, newSession, open, PHONE } from "./browser.ts";
import { idle, play, said } from "./demo.ts";

const shots = env("OCTO_SHOTS", ".");
/** More than an agent may be restarted in a minute. */
const KILLS = 4;
const MANY = 2000;
/** Actors that are different in each update. */
const BUSY = 100;
const UPDATES = 12;

const line = (page: Page, path: string) => page.locator(`[data-testid=actor-line][data-path="${path}"]`);
const state = (page: Page, path: string, state: string) => line(page, path).locator(`[data-state=${state}]`);

async function narrowerThan(page: Page, width: number): Promise<void> {
  assert.ok(
    (await page.evaluate(() => document.documentElement.scrollWidth)) <= width,
    "nothing is wider than the screen",
  );
}

await journey(async (browser) => {
  const page = await newPage(
    await browser.newContext({ ...DESKTOP, viewport: { width: 1440, height: 900 } }),
  );
  const found = complaints(page);
  await open(page, "/");
  const id = await newSession(page, env("OCTO_WORKSPACE"));
  await play(page, [{ text: "an answer before the page of actors" }]);
  await said(page, "an answer before").waitFor({ timeout: 60_000 });
  await idle(page);

  await page.getByTestId("nav-actors").click();
  const agent = `/users/admin/runner/sessions/${id}/agent`;
  await state(page, agent, "running").waitFor({ timeout: 30_000 });
  await line(page, "/services/eavs").waitFor();
  await line(page, `/users/admin/sessions/${id}`).waitFor();
  await page.getByTestId("freshness").getByText("Live").waitFor();
  await page.screenshot({ path: join(shots, "desktop-actors.png") });

  await line(page, agent).click();
  const panel = page.getByTestId("actor-panel");
  await panel.getByTestId("json").getByText("pid").waitFor();
  await panel.getByTestId("trace-toggle").click();
  await panel.locator("[data-testid=trace][data-status=running]").waitFor();

  // The way of each event, from the agent to the socket of somebody who reads.
  await panel.getByTestId("event-path-toggle").click();
  await panel.locator("[data-testid=event-path][data-status=running]").waitFor();
  const reader = await newPage(await browser.newContext(DESKTOP));
  await open(reader, `/s/${id}`);
  await said(reader, "an answer before").waitFor({ timeout: 60_000 });
  await play(reader, [{ text: "an answer whose way is followed" }]);
  await said(reader, "whose way is followed").waitFor({ timeout: 60_000 });
  const followed = panel.getByTestId("event-path-line").filter({ hasText: "stream.text_delta" }).first();
  await followed.getByRole("button").click();
  const hops = followed.getByTestId("event-path-hops");
  await hops.getByText("octo: written to the socket").waitFor();
  await hops.getByText(/^[12] sockets? (has|have) it/).waitFor();
  assert.equal(await hops.getByText("not known").count(), 0, "every hop of what the agent says has its time");
  await followed.scrollIntoViewIfNeeded();
  await page.screenshot({ path: join(shots, "desktop-actors-event-path.png") });
  await panel.getByTestId("event-path-toggle").click();
  await reader.context().close();

  // As it happens: the line, its flash, and the list of what happened.
  process.stdout.write("ask: kill agent\n");
  const restarted = page.getByTestId("change").and(page.locator("[data-what=restarted]"));
  await line(page, agent).getByTestId("flash").waitFor({ timeout: 30_000 });
  await restarted.first().waitFor();
  assert.match((await restarted.first().textContent()) ?? "", /agent.*restarted, the first time/);
  await page.screenshot({ path: join(shots, "desktop-actors-restart.png") });
  await state(page, agent, "running").waitFor({ timeout: 30_000 });
  await panel.getByTestId("panel-error").waitFor();
  assert.equal(await line(page, agent).locator(".col-restarts").textContent(), "1");

  for (let kill = 2; kill <= KILLS; kill += 1) {
    process.stdout.write("ask: kill agent\n");
    const next =
      kill < KILLS
        ? line(page, agent).locator(".col-restarts").getByText(String(kill), { exact: true })
        : state(page, agent, "degraded");
    await next.waitFor({ timeout: 60_000 });
    if (kill < KILLS) await state(page, agent, "running").waitFor({ timeout: 60_000 });
  }
  await page.getByTestId("only-wrong").click();
  await state(page, agent, "degraded").waitFor();
  assert.equal(await line(page, "/services/eavs").count(), 0, "what is well is not shown");
  await page.getByTestId("summary").getByText("2 are down or stuck").waitFor();
  await page.screenshot({ path: join(shots, "desktop-actors-down.png") });
  await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  await page.screenshot({ path: join(shots, "desktop-actors-down-dark.png") });
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });

  await panel.getByTestId("restart").click();
  await page.getByTestId("confirm-restart").click();
  await page.getByTestId("toast").getByText("was restarted").waitFor({ timeout: 60_000 });
  await page.getByText("Nothing is wrong.").waitFor({ timeout: 60_000 });
  await page.getByTestId("only-wrong").click();
  await state(page, agent, "running").waitFor({ timeout: 60_000 });

  // octo is away: what was seen stays, and goes on by itself.
  const actors = page.getByTestId("actors");
  const before = await page.getByTestId("change").count();
  process.stdout.write("ask: kill\n");
  await page.locator("[data-testid=actors][data-status=away]").waitFor({ timeout: 30_000 });
  await line(page, agent).waitFor();
  await page.screenshot({ path: join(shots, "desktop-actors-away.png") });
  process.stdout.write("ask: start\n");
  await page.locator("[data-testid=actors][data-status=live]").waitFor({ timeout: 60_000 });
  await state(page, agent, "running").waitFor({ timeout: 60_000 });
  const paths = await page
    .locator("[data-testid=actor-line]")
    .evaluateAll((all) => all.map((one) => one.getAttribute("data-path")));
  assert.equal(new Set(paths).size, paths.length, "no actor is there twice");
  assert.ok((await page.getByTestId("change").count()) >= before, "what happened before is still listed");
  assert.equal(await actors.count(), 1);
  const other = found.filter(
    (text) => !/ERR_CONNECTION_REFUSED|WebSocket connection|Failed to load resource|network error/.test(text),
  );
  assert.deepEqual(other, [], "the page had nothing to complain of but the absence of octo");

  const phone = await newPage(await browser.newContext(PHONE));
  await open(phone, "/actors");
  await line(phone, agent).waitFor({ timeout: 30_000 });
  await narrowerThan(phone, 390);
  await phone.screenshot({ path: join(shots, "phone-actors.png") });
  await line(phone, agent).click();
  await phone.getByTestId("json").getByText("pid").waitFor();
  await narrowerThan(phone, 390);
  await phone.screenshot({ path: join(shots, "phone-actors-panel.png") });
  await phone.getByTestId("panel-close").click();
  await phone.getByTestId("actor-panel").waitFor({ state: "hidden" });

  await many(await newPage(await browser.newContext({ ...DESKTOP, viewport: { width: 1440, height: 900 } })));
});
process.stdout.write("actors: all well\n");

interface Row {
  path: string;
  [member: string]: unknown;
}

/** A tree of two thousand actors in place of octo's own, by changing what octo says on its way into the page. */
async function many(page: Page): Promise<void> {
  const template = (path: string, kind: string, processed: number): Row => ({
    path,
    kind,
    state: "running",
    restarts: 0,
    mailbox: processed % 7,
    processed,
    started_at: Date.now() - 3_600_000,
    mailbox_limit: 1024,
  });
  const all: Row[] = [template("/services", "services", 1), template("/users", "users", 1)];
  for (let user = 0; all.length < MANY; user += 1) {
    all.push(template(`/users/user${user}`, "user", 1), template(`/users/user${user}/runner`, "runner", 1));
    for (let n = 0; n < 50 && all.length < MANY; n += 1) {
      const session = `/users/user${user}/runner/sessions/ses_${n}`;
      all.push(template(session, "session", n), template(`${session}/agent`, "agent", n));
    }
  }
  all.length = MANY;
  let look = 0;
  await page.routeWebSocket(/\/api\/ws\/mux/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((text) => {
      const frame = JSON.parse(String(text));
      if (frame.channel !== "system" || frame.type !== "actors") return socket.send(text);
      look += 1;
      // Always others, some of them on the screen, and now and then one that fails.
      const some: Row[] = all
        .filter((_, n) => n % (MANY / BUSY) === look % (MANY / BUSY))
        .map((row) => ({ ...row, processed: look * 500 }));
      if (look % 3 === 0) some.push({ ...template("/users", "users", look), restarts: look });
      socket.send(
        JSON.stringify({ ...frame, rows: frame.first ? all : some, gone: [], more: false, left_out: [] }),
      );
    });
  });
  await open(page, "/actors");
  await page.getByTestId("summary").getByText(`${MANY} actors`).waitFor({ timeout: 30_000 });
  const drawn = await page.getByTestId("actor-line").count();
  assert.ok(drawn > 10 && drawn < 80, `only what is near the screen is in the page, not ${drawn} lines`);
  await page.screenshot({ path: join(shots, "desktop-actors-many.png") });

  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const spent = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    const of = (name: string) => metrics.find((metric) => metric.name === name)?.value ?? 0;
    return {
      script: of("ScriptDuration"),
      layout: of("LayoutDuration") + of("RecalcStyleDuration"),
      task: of("TaskDuration"),
    };
  };
  for (const view of ["tree", "top"] as const) {
    await page.getByTestId(`view-${view}`).click();
    const from = look;
    await seen(() => look >= from + 2);
    const [begin, first] = [await spent(), look];
    await seen(() => look >= first + UPDATES);
    const end = await spent();
    const each = (a: number, b: number) => `${(((b - a) * 1000) / (look - first)).toFixed(1)} ms`;
    process.stdout.write(
      `figure: ${MANY} actors, ${BUSY} of them different, as a ${view}: one update and one tick of the clock take ${each(begin.script, end.script)} of script, ` +
        `${each(begin.layout, end.layout)} of style and layout, ${each(begin.task, end.task)} in all\n`,
    );
  }
  await page.getByTestId("view-tree").click();

  // Scrolling through all of it: no frame is lost to a long task.
  const list = page.getByTestId("actor-list");
  await page.evaluate(() => {
    const record = window as unknown as { longest: number };
    record.longest = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) record.longest = Math.max(record.longest, entry.duration);
    }).observe({ type: "longtask" });
  });
  await list.hover();
  for (let n = 0; n < 40; n += 1) await page.mouse.wheel(0, 1600);
  await list.press("End");
  await line(page, all.at(-1)?.path ?? "").waitFor();
  const longest = await page.evaluate(() => (window as unknown as { longest: number }).longest);
  process.stdout.write(
    `figure: longest task while scrolling through ${MANY} actors: ${longest === 0 ? "none over 50 ms" : `${Math.round(longest)} ms`}\n`,
  );
  assert.ok((await page.getByTestId("actor-line").count()) < 80);
  await page.getByTestId("actor-filter").fill("user3 agent");
  await line(page, "/users/user3/runner/sessions/ses_7/agent").waitFor();
  await page.screenshot({ path: join(shots, "desktop-actors-found.png") });
}

/** Waits for something that the test itself knows, without asking the page, which is being measured. */
async function seen(done: () => boolean): Promise<void> {
  const end = Date.now() + 120_000;
  while (!done()) {
    assert.ok(Date.now() < end, "no more updates come");
    await new Promise((next) => setTimeout(next, 50));
  }
}
