/**
 * A server that speaks octo's REST and mux for tests and screenshots: one user, scripted agents, no
 * storage. With `dist` it serves the built application under the Content-Security-Policy that it must bear.
 */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { WebSocketServer } from "ws";
import { FakeOcto } from "./fake-octo.ts";
import { script } from "./fake-script.ts";
import { HARNESSES, MODELS } from "./fake-session.ts";

export const USER = { username: "ada", password: "correct horse" };

const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

export interface FakeServer {
  url: string;
  octo: FakeOcto;
  /** Cuts every socket, as a network does. */
  cut: () => void;
  close: () => Promise<void>;
}

export async function startFakeServer(options: { port?: number; dist?: string } = {}): Promise<FakeServer> {
  const octo = new FakeOcto(script);
  const tokens = new Set<string>();
  const authorised = (request: IncomingMessage) => {
    const token = /(?:^|; )auth_token=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
    return token !== undefined && tokens.has(token);
  };
  const server = createServer((request, response) => {
    handle(request, response).catch(() => {
      if (!response.headersSent)
        json(response, 500, { error: "the fake server failed", code: "INTERNAL_ERROR" });
    });
  });
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 16 * 1024 * 1024 });

  server.on("upgrade", (request, socket, head) => {
    if (request.url !== "/api/ws/mux" || !authorised(request)) {
      socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const { receive, end } = octo.connect({ send: (frame) => ws.send(JSON.stringify(frame)) });
      ws.on("message", (data) => receive(String(data)));
      ws.on("close", end);
    });
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const { pathname: path, searchParams } = new URL(request.url ?? "/", "http://fake");
    if (!path.startsWith("/api/")) return asset(response, options.dist, path);
    if (path === "/api/auth/login") {
      const { username, password } = JSON.parse(await body(request));
      if (username !== USER.username || password !== USER.password) {
        return json(response, 401, { error: "wrong username or password", code: "UNAUTHORIZED" });
      }
      const token = crypto.randomUUID();
      tokens.add(token);
      response.setHeader("set-cookie", `auth_token=${token}; HttpOnly; SameSite=Lax; Path=/; Max-Age=86400`);
      return json(response, 200, { token, user: { id: "ada", name: "Ada", role: "user" } });
    }
    if (!authorised(request)) return json(response, 401, { error: "log in first", code: "UNAUTHORIZED" });
    if (path === "/api/auth/logout") {
      tokens.clear();
      response.writeHead(204, { "set-cookie": "auth_token=; Max-Age=0; Path=/" }).end();
      for (const ws of sockets.clients) ws.close(1000);
      return;
    }
    if (path === "/api/me") return json(response, 200, { id: "ada", name: "Ada Lovelace", role: "admin" });
    if (path === "/api/features") return json(response, 200, { websocket_events: true, models: MODELS });
    if (path === "/api/harnesses") return json(response, 200, HARNESSES);
    if (path === "/api/chat-history") return json(response, 200, []);
    if (path === "/api/actors/inspect") {
      const seen = octo.actors.inspect(searchParams.get("path") ?? "/");
      return json(response, seen ? 200 : 404, seen ?? { error: "there is no such actor", code: "NOT_FOUND" });
    }
    if (path === "/api/actors/restart") {
      octo.actors.restart(JSON.parse(await body(request)).path);
      return json(response, 200, {});
    }
    json(response, 404, { error: "no such route", code: "NOT_FOUND" });
  }

  await listen(server, options.port ?? 0);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    octo,
    cut: () => {
      for (const ws of sockets.clients) ws.terminate();
    },
    close: () => {
      for (const ws of sockets.clients) ws.terminate();
      server.closeAllConnections();
      return new Promise((done) => server.close(() => done()));
    },
  };
}

async function asset(response: ServerResponse, dist: string | undefined, path: string): Promise<unknown> {
  if (!dist) return json(response, 404, { error: "no page here: run vite", code: "NOT_FOUND" });
  const wanted = extname(path) ? normalize(path) : "/index.html";
  try {
    const content = await readFile(join(dist, wanted));
    response
      .writeHead(200, {
        "content-type": TYPES[extname(wanted)] ?? "application/octet-stream",
        "content-security-policy": CSP,
      })
      .end(content);
  } catch {
    json(response, 404, { error: "no such file", code: "NOT_FOUND" });
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((done, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", () => done());
  });
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

async function body(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
