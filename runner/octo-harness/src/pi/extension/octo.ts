// octo's extension for pi.
//
// 1. Providers: registers the session's models, which all live behind octo-eavs. No real key ever gets here; the one used is the session's own.
// 2. Permissions: asks before a tool runs, as OCTO_PERMISSIONS says. Unset means that nothing is asked.
//
// Environment:
//   OCTO_PROVIDERS    [{name, api, models: [{id, name, reasoning, input, context_window, max_tokens, cost?}]}]
//   OCTO_EAVS_URL     base URL of octo-eavs
//   OCTO_EAVS_KEY     the session's virtual key
//   OCTO_PERMISSIONS  {"tools": {"<tool>": "allow" | "ask" | "deny"}, "default": "allow" | "ask" | "deny"}

const MARKER = "octo:permission:";
const OPTIONS = [
	{ option_id: "allow_once", label: "Allow once", kind: "allow_once" },
	{ option_id: "allow_always", label: "Always allow in this session", kind: "allow_always" },
	{ option_id: "deny_once", label: "Deny", kind: "deny_once" },
	{ option_id: "deny_always", label: "Always deny in this session", kind: "deny_always" },
];
// Longest value shown to the person who decides, in characters.
const SHOWN = 20000;

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

// What is asked for, in one line.
function subject(input: any): string {
	const first = input?.command ?? input?.path ?? input?.file_path ?? input?.url ?? input?.pattern;
	return typeof first === "string" ? String(shortened(first)) : "";
}

function askPermissions(pi: any): void {
	const policy = fromEnvironment("OCTO_PERMISSIONS");
	if (!policy) return;
	const decided = new Map<string, boolean>();
	const rule = (tool: string): string => policy.tools?.[tool] ?? policy.default ?? "allow";

	pi.on("tool_call", async (event: any, ctx: any) => {
		const tool = String(event.toolName);
		const wanted = rule(tool);
		if (wanted === "allow") return undefined;
		if (wanted === "deny") return { block: true, reason: `${tool} is not allowed in this session` };
		const known = decided.get(tool);
		if (known === true) return undefined;
		if (known === false) return { block: true, reason: `${tool} was denied for this session` };

		const about = subject(event.input);
		const question = {
			title: `Allow ${tool}?`,
			description: about || undefined,
			metadata: { tool, tool_call_id: event.toolCallId, input: shortened(event.input) },
			options: OPTIONS,
		};
		const answer = await ctx.ui.select(
			MARKER + JSON.stringify(question),
			OPTIONS.map((option) => option.option_id),
			{ signal: ctx.signal },
		);
		if (answer === "allow_always") decided.set(tool, true);
		if (answer === "deny_always") decided.set(tool, false);
		if (answer === "allow_once" || answer === "allow_always") return undefined;
		return { block: true, reason: answer === undefined ? "Nobody allowed it" : "Denied by the user" };
	});
}

export default function octo(pi: any): void {
	registerProviders(pi);
	askPermissions(pi);
}
