// The official TypeScript SDK as a client that does what it is told: one JSON object a line in, what comes of it out.
// The SDK is found by OCTO_TEST_ACP_SDK, the agent by the first argument (see puppet.rs).
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.OCTO_TEST_ACP_SDK}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const acp = await load("@agentclientprotocol/sdk");

const say = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);
const target = JSON.parse(process.argv[2]);
const headers = target.token ? { Authorization: `Bearer ${target.token}` } : undefined;

async function stream() {
  if (target.transport === "stdio") {
    const [program, ...rest] = target.command;
    const agent = spawn(program, rest, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...target.env } });
    agent.on("exit", (code) => say({ said: "exit", code }));
    process.stdin.on("end", () => agent.stdin.end());
    return acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
  }
  if (target.transport === "ws") {
    const { createWebSocketStream } = await load("@agentclientprotocol/sdk/experimental/ws-client");
    const { WebSocket } = require("ws");
    return createWebSocketStream(target.url.replace(/^http/, "ws"), { WebSocket, headers });
  }
  const { createHttpStream } = await load("@agentclientprotocol/sdk/experimental/http-client");
  return createHttpStream(target.url, { headers });
}

const asked = new Map();
let asks = 0;
const ask = (method) => ({ params, signal }) =>
  new Promise((resolve, reject) => {
    const number = ++asks;
    asked.set(number, { resolve, reject });
    signal?.addEventListener("abort", () => {
      say({ said: "withdrawn", ask: number });
      asked.delete(number);
      reject(acp.RequestError.requestCancelled?.() ?? new Error("cancelled"));
    });
    say({ said: "asked", ask: number, method, params });
  });

const app = acp
  .client({ name: "octo-test" })
  .onRequest(acp.methods.client.session.requestPermission, ask("session/request_permission"))
  .onRequest(acp.methods.client.elicitation.create, ask("elicitation/create"))
  .onNotification(acp.methods.client.session.update, ({ params }) => say({ said: "update", params }));

let ctx;
app.onConnect((connection) => {
  ctx = connection.agent;
});
const connection = app.connect(await stream());
ctx ??= connection.agent;
connection.closed.then(
  () => say({ said: "closed" }),
  (error) => say({ said: "closed", why: String(error) }),
);

const failed = (id, error) => say({ said: "error", id, code: error?.code ?? null, message: String(error?.message ?? error), data: error?.data ?? null });
const aborts = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  if (told.do === "request") {
    const abort = new AbortController();
    aborts.set(told.id, abort);
    ctx.request(told.method, told.params, { cancellationSignal: abort.signal }).then(
      (result) => say({ said: "result", id: told.id, result }),
      (error) => failed(told.id, error),
    );
  } else if (told.do === "take_back") {
    aborts.get(told.id)?.abort();
  } else if (told.do === "notify") {
    await ctx.notify(told.method, told.params);
  } else if (told.do === "answer") {
    asked.get(told.ask)?.resolve(told.result);
    asked.delete(told.ask);
  }
}
connection.close();
