// octo's extension for pi.
//
// 1. Providers: registers the session's models, which all live behind octo-eavs. No real key ever gets here; the one used is the session's own.
// 2. Permissions: asks octo before every tool call, with what a person needs to decide. octo's runner answers most of them at once, by its rules and its
//    policy; only what it leaves to a person waits for one.
//
// Environment:
//   OCTO_PROVIDERS    [{name, api, models: [{id, name, reasoning, input, context_window, max_tokens, cost?}]}]
//   OCTO_EAVS_URL     base URL of octo-eavs; empty: there is none, and nothing is registered
//   OCTO_EAVS_KEY     the session's virtual key

import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";

const MARKER = "octo:permission:";
// What octo answers with; what it remembers is its own affair, and it is asked again the next time.
const OPTIONS = [
	{ option_id: "allow_once", label: "Allow once", kind: "allow_once" },
	{ option_id: "deny_once", label: "Deny", kind: "deny_once" },
];
// A denial may come with its reason in further lines.
const DENIED = "deny_once";
// Longest value shown to the person who decides, in characters.
const SHOWN = 20000;
// Largest file that is read to show what a write changes, in bytes, and lines around a change.
const COMPARED = 256 * 1024;
const CONTEXT = 3;

function fromEnvironment(name: string): any {
	const text = process.env[name];
	if (!text) return undefined;
	try {
		return JSON.parse(text);
	} catch (error) {
		throw new Error(`${name} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
	}
}

function registerProviders(pi: any): void {
	// Said to be none: pi goes to its own providers, with its own keys.
	if (process.env.OCTO_EAVS_URL === "") return;
	const providers = fromEnvironment("OCTO_PROVIDERS") ?? [];
	const base = (process.env.OCTO_EAVS_URL ?? "").replace(/\/+$/, "");
	for (const provider of providers) {
		// The Anthropic client adds /v1 itself, the OpenAI clients do not.
		const suffix = String(provider.api).startsWith("openai") ? "/v1" : "";
		pi.registerProvider(provider.name, {
			baseUrl: `${base}/${provider.name}${suffix}`,
			apiKey: process.env.OCTO_EAVS_KEY ?? "",
			api: provider.api,
			models: provider.models.map((model: any) => ({
				id: model.id,
				name: model.name || model.id,
				reasoning: Boolean(model.reasoning),
				input: model.input?.length ? model.input : ["text"],
				contextWindow: model.context_window || 128000,
				maxTokens: model.max_tokens || 16384,
				cost: {
					input: model.cost?.input ?? 0,
					output: model.cost?.output ?? 0,
					cacheRead: model.cost?.cacheRead ?? 0,
					cacheWrite: model.cost?.cacheWrite ?? 0,
				},
			})),
		});
	}
}

function shortened(value: unknown): unknown {
	if (typeof value === "string") return value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
	if (Array.isArray(value)) return value.map(shortened);
	if (value && typeof value === "object") {
		return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shortened(inner)]));
	}
	return value;
}

// A path as pi's tools take it.
function absolute(path: string, cwd: string): string {
	let plain = path.replace(/[\u00A0\u2000-\u200A\u202F\u205F\u3000]/g, " ");
	if (plain.startsWith("@")) plain = plain.slice(1);
	if (plain === "~") return homedir();
	if (plain.startsWith("~/")) return join(homedir(), plain.slice(2));
	return isAbsolute(plain) ? resolve(plain) : resolve(cwd, plain);
}

// The text of a file that is there; undefined when it is not, or is not to be read for this.
function present(path: string): string | undefined {
	try {
		const found = statSync(path);
		return found.isFile() && found.size <= COMPARED ? readFileSync(path, "utf8") : undefined;
	} catch {
		return undefined;
	}
}

function hunk(at: number, before: string[], removed: string[], added: string[], after: string[]): string[] {
	const count = (lines: string[]) => before.length + lines.length + after.length;
	return [
		`@@ -${at + 1},${count(removed)} +${at + 1},${count(added)} @@`,
		...before.map((line) => ` ${line}`),
		...removed.map((line) => `-${line}`),
		...added.map((line) => `+${line}`),
		...after.map((line) => ` ${line}`),
	];
}

// What lies between the lines that both have at their beginning and at their end.
function changed(before: string, after: string): string[] {
	const old = before === "" ? [] : before.split("\n");
	const fresh = after === "" ? [] : after.split("\n");
	let head = 0;
	while (head < old.length && head < fresh.length && old[head] === fresh[head]) head += 1;
	let tail = 0;
	while (tail < old.length - head && tail < fresh.length - head && old[old.length - 1 - tail] === fresh[fresh.length - 1 - tail]) tail += 1;
	if (head === old.length && head === fresh.length) return [];
	const from = Math.max(0, head - CONTEXT);
	const end = old.length - tail;
	return hunk(from, old.slice(from, head), old.slice(head, end), fresh.slice(head, fresh.length - tail), old.slice(end, end + CONTEXT));
}

// What a call would change in a file, as a unified diff.
function diffOf(tool: string, input: any, path: string): string | undefined {
	const lines: string[] = [];
	if (tool === "write" && typeof input?.content === "string") {
		lines.push(...changed(present(path) ?? "", input.content));
	}
	if (tool === "edit") {
		const single = typeof input?.oldText === "string" ? [{ oldText: input.oldText, newText: input.newText }] : [];
		const file = present(path) ?? "";
		for (const edit of [...(Array.isArray(input?.edits) ? input.edits : []), ...single]) {
			if (typeof edit?.oldText !== "string" || typeof edit?.newText !== "string") continue;
			const at = file.indexOf(edit.oldText);
			if (at < 0) {
				lines.push(...changed(edit.oldText, edit.newText));
				continue;
			}
			// Whole lines of the file, so that one sees where it is.
			const start = at === 0 ? 0 : file.lastIndexOf("\n", at - 1) + 1;
			const stop = file.indexOf("\n", at + edit.oldText.length);
			const end = stop < 0 ? file.length : stop;
			const after = file.slice(start, at) + edit.newText + file.slice(at + edit.oldText.length, end);
			const above = file.slice(0, start).split("\n").slice(0, -1);
			const below = file.slice(end).split("\n").slice(1);
			lines.push(
				...hunk(
					Math.max(0, above.length - CONTEXT),
					above.slice(-CONTEXT),
					file.slice(start, end).split("\n"),
					after.split("\n"),
					below.slice(0, CONTEXT),
				),
			);
		}
	}
	return lines.length > 0 ? [`--- ${path}`, `+++ ${path}`, ...lines].join("\n") : undefined;
}

// What a person, or a rule, needs to know of a call.
function described(event: any, cwd: string): any {
	const tool = String(event.toolName);
	const { command, path, url, ...rest } = event.input ?? {};
	const metadata: any = { tool, tool_call_id: event.toolCallId };
	const subject =
		typeof command === "string" ? { command } : typeof path === "string" ? { path: absolute(path, cwd) } : typeof url === "string" ? { url } : {};
	for (const [name, text] of Object.entries(subject)) {
		metadata[name] = shortened(text);
		if (metadata[name] !== text) metadata.truncated = true;
	}
	const diff = typeof path === "string" ? diffOf(tool, event.input, absolute(path, cwd)) : undefined;
	if (diff !== undefined) metadata.diff = shortened(diff);
	else if (Object.keys(rest).length > 0) metadata.input = shortened(rest);
	return { title: `Allow ${tool}?`, metadata, options: OPTIONS };
}

function askPermissions(pi: any): void {
	pi.on("tool_call", async (event: any, ctx: any) => {
		const answer = await ctx.ui.select(
			MARKER + JSON.stringify(described(event, ctx.cwd ?? process.cwd())),
			OPTIONS.map((option) => option.option_id),
			{ signal: ctx.signal },
		);
		if (answer === "allow_once") return undefined;
		const reason = typeof answer === "string" && answer.startsWith(`${DENIED}\n`) ? answer.slice(DENIED.length + 1) : undefined;
		return { block: true, reason: reason ?? (answer === undefined ? "Nobody allowed it" : "Denied by the user") };
	});
}

export default function octo(pi: any): void {
	registerProviders(pi);
	askPermissions(pi);
}
