/** Runs the end-to-end test against the fake server and the built application: `bun run build && node test/first-light-browser.ts`. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startFakeServer, USER } from "./fake-server.ts";

const server = await startFakeServer({ dist: fileURLToPath(new URL("../dist", import.meta.url)) });
const workspace = await mkdtemp(join(tmpdir(), "octo-e2e-"));
Object.assign(process.env, {
  OCTO_URL: server.url,
  OCTO_USERNAME: USER.username,
  OCTO_PASSWORD: USER.password,
  OCTO_WORKSPACE: workspace,
});
try {
  await import("../e2e/first-light.e2e.ts");
} finally {
  await server.close();
  await rm(workspace, { recursive: true, force: true });
}
