/** `bun run dev:fake`: a scripted octo for `vite dev` on port 8080, with some sessions to look at. */
import { startFakeServer, USER } from "./fake-server.ts";

const server = await startFakeServer({ port: Number(process.env.PORT ?? 8080), dist: process.env.DIST });
server.octo.create("ses_parser", "/srv/octo", "Fences that swallow their tail");
server.octo.create("ses_docs", "/srv/octo", "Document the resume rules");
server.octo.create("ses_shop", "/home/ada/shop", "Slow checkout query");
process.stdout.write(`fake octo on ${server.url}, log in as ${USER.username} / ${USER.password}\n`);
