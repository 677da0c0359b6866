//! Agents, their models, their sessions, what they run in.

use crate::config::harness::{PROFILES, PROTOCOLS, TRANSPORTS};
use crate::config::key::Default as D;
use crate::config::key::Key;
use crate::config::key::Kind as K;
use crate::config::table::Section;

const NO_CONTAINERS: &str = "sessions run on this machine; containers are not built";
const FIXED: &str = "an agent's own session goes on as long as its octo session; see `[journal]` for what octo keeps";
const NO_CAP: &str = "the number of agents is not limited; idle ones are put to sleep";

const MODE: K = K::Choice(&["allow", "ask", "deny"]);
/// A hundred years.
const MAX_DAYS: i64 = 36_500;
const MAX_SECONDS: i64 = MAX_DAYS * 86_400;

pub(in crate::config) const SECTIONS: &[Section] = &[
    Section {
        name: "pi",
        doc: "The agent pi.",
        keys: &[
            Key::new("pi.enabled", K::Bool, D::Bool(true), "Offer pi for new sessions. The same as `harness.pi.enabled`."),
            Key::new(
                "pi.executable",
                K::Text,
                D::Text("pi"),
                "Name or path of pi. A name is looked for in octo's own agents first, then in PATH; `octo doctor` shows where. The same as `harness.pi.command`.",
            ),
            Key::new(
                "pi.default_provider",
                K::Text,
                D::Text("anthropic"),
                "Provider of sessions that name none. Without a key for it, the first provider that can be used; without any, the demonstration.",
            ),
            Key::new("pi.default_model", K::Text, D::Text("claude-sonnet-4-20250514"), "Model of sessions that name none."),
            Key::new("pi.extensions", K::List, D::List(&[]), "Extensions to load into every pi.")
                .not_built("pi is started with octo's own extension only"),
            Key::new("pi.max_session_age_hours", K::Integer(1, i64::MAX), D::None, "Start anew what is older.").not_built(FIXED),
            Key::new("pi.max_session_size_bytes", K::Integer(1, i64::MAX), D::None, "Start anew what is larger.").not_built(FIXED),
            Key::new(
                "pi.runtime_mode",
                K::Choice(&["local", "runner", "container"]),
                D::Text("runner"),
                "Where pi runs. It always runs under the user's runner.",
            )
            .not_built(NO_CONTAINERS),
            Key::new("pi.runner_socket_pattern", K::Text, D::None, "Sockets of runners.")
                .not_built("runners bind their sockets in octo's own run directory"),
            Key::new("pi.bridge_url", K::Text, D::None, "A pi behind HTTP.").not_built(NO_CONTAINERS),
            Key::new("pi.sandboxed", K::Bool, D::None, "Run pi in the sandbox. It always does; see `sandbox.allow_unsandboxed`.")
                .not_built("agents always run in the sandbox; `sandbox.allow_unsandboxed` is the only way out"),
            Key::new(
                "pi.idle_timeout_secs",
                K::Integer(0, MAX_SECONDS),
                D::None,
                "Put an idle pi to sleep after so many seconds, 0 = never; `sessions.idle_timeout_minutes` when not set.",
            ),
        ],
    },
    Section {
        name: "claude",
        doc: "The agent Claude Code. It needs a provider that speaks `anthropic-messages`.",
        keys: &[
            Key::new(
                "claude.enabled",
                K::Bool,
                D::Bool(true),
                "Offer Claude Code for new sessions, where it is installed. The same as `harness.claude.enabled`.",
            ),
            Key::new(
                "claude.executable",
                K::Text,
                D::Text("claude"),
                "Name or path of Claude Code. A name is looked for in octo's own agents first, then in PATH; `octo doctor` shows where. The same as \
                 `harness.claude.command`.",
            ),
        ],
    },
    Section {
        name: "harness.NAME",
        doc: "The registry of agents. `pi` and `claude` (`claude-code` means the same) are in it by themselves, and a table of their name changes them; a table of \
              another name adds an agent, which needs `protocol` and `command`, or `transport = \"bridge\"`. NAME is what a session names in `config.harness`. What is changed here holds \
              for a session from the next time that a client opens it; a session whose agent is no longer in the registry can be read and no more. See \
              [agents.md](agents.md).",
        keys: &[
            Key::new("harness.*.enabled", K::Bool, D::Derived("`true`"), "Offer it for new sessions. Sessions that have it go on."),
            Key::new("harness.*.label", K::Text, D::Derived("its name"), "As people read it."),
            Key::new(
                "harness.*.protocol",
                K::Choice(PROTOCOLS),
                D::Derived("that of pi and of Claude Code for these two"),
                "What is spoken with it. `acp` is known and not built yet: a start with it says so.",
            ),
            Key::new(
                "harness.*.transport",
                K::Choice(TRANSPORTS),
                D::Derived("`stdio`"),
                "How the agent is reached: `stdio` is a program on this machine, `bridge` a pi-bridge, in a container or elsewhere, which has the agent; it takes \
                 `url` and `token`, and needs neither `protocol` nor `command`. See [pi-bridge.md](pi-bridge.md).",
            ),
            Key::new("harness.*.url", K::Text, D::None, "Where its bridge answers: `http://HOST:PORT`. For `transport = \"bridge\"`."),
            Key::new("harness.*.token", K::Text, D::None, "The token of its bridge; `env:NAME` takes it from the environment.").secret(),
            Key::new(
                "harness.*.command",
                K::Text,
                D::Derived("`pi` and `claude` for these two"),
                "Its program: a name, looked for in octo's own agents first, then in PATH, or a path from `/` or `~/` on.",
            ),
            Key::new(
                "harness.*.args",
                K::List,
                D::Derived("none"),
                "Arguments after octo's own. Whoever is on this machine can read them: no secrets.",
            ),
            Key::new(
                "harness.*.env",
                K::Map,
                D::Derived("none"),
                "Variables of its environment, each a text or `env:NAME`. What the session is made with, and what octo itself sets for the agent, wins.",
            )
            .secret(),
            Key::new(
                "harness.*.models",
                K::List,
                D::Derived("all"),
                "The models that it is offered: `provider/model`, where `*` stands for anything. Of these it has those whose provider it can speak with.",
            ),
            Key::new(
                "harness.*.permissions",
                MODE,
                D::Derived("`permissions.default`"),
                "What becomes of its tool calls, in a session that says nothing itself; comes before `permissions.default`.",
            ),
            Key::new(
                "harness.*.sandbox",
                K::Choice(PROFILES),
                D::Derived("`development`"),
                "The sandbox profile of its sessions that name none.",
            ),
        ],
    },
    Section {
        name: "providers.NAME",
        doc: "Where models come from. NAME is the first half of `provider/model`. Keys stay in octo-eavs; agents never see them. \
              `ANTHROPIC_API_KEY` and `OPENAI_API_KEY` in the environment make the providers `anthropic` and `openai` without a section.",
        keys: &[
            Key::new(
                "providers.*.api",
                K::Choice(&["anthropic-messages", "openai-completions", "openai-responses"]),
                D::None,
                "The dialect it speaks.",
            ),
            Key::new(
                "providers.*.base_url",
                K::Text,
                D::None,
                "Its address, with or without a trailing `/v1`. Any server that speaks the dialect: Ollama, vLLM, llama.cpp.",
            ),
            Key::new("providers.*.api_key", K::Text, D::None, "Its key; a local server needs none.").secret(),
            Key::new(
                "providers.*.models",
                K::Tables(&["id", "name", "reasoning", "input", "context_window", "max_tokens", "cost"]),
                D::None,
                "Its models. `cost` is US dollars per million tokens: `{ input, output, cache_read, cache_write }`.",
            ),
            Key::new("providers.*.headers", K::Map, D::None, "Further headers, each a text or `env:NAME`.").secret(),
        ],
    },
    Section {
        name: "eavs",
        doc: "octo-eavs, the LLM proxy: a process of its own that holds the providers' keys.",
        keys: &[
            Key::new("eavs.enabled", K::Bool, D::Bool(true), "Start octo-eavs. Without it sessions have no models."),
            Key::new("eavs.base_url", K::Text, D::Text("http://localhost:41800"), "Address of a proxy that runs elsewhere.")
                .not_built("octo starts its own octo-eavs and talks to it by a socket"),
            Key::new("eavs.container_url", K::Text, D::None, "The same as containers see it.").not_built(NO_CONTAINERS),
            Key::new("eavs.master_key", K::Text, D::None, "Key of its admin interface.")
                .not_built("the admin interface is a private socket and takes no key")
                .secret(),
            Key::new("eavs.default_session_budget_usd", K::Number(0.0), D::None, "US dollars that a session may spend."),
            Key::new("eavs.default_session_rpm", K::Integer(1, 1_000_000), D::None, "Model requests a minute of a session."),
            Key::new("eavs.connect_timeout_seconds", K::Integer(1, 86_400), D::Integer(10), "Patience for reaching a provider."),
            Key::new(
                "eavs.first_byte_timeout_seconds",
                K::Integer(1, 86_400),
                D::Integer(600),
                "Patience for the first byte of an answer.",
            ),
            Key::new("eavs.idle_timeout_seconds", K::Integer(1, 86_400), D::Integer(300), "Patience for the next byte of an answer."),
            Key::new(
                "eavs.unpriced",
                K::Choice(&["count", "block"]),
                D::Text("count"),
                "What a session with a budget may do with a model without a price.",
            ),
        ],
    },
    Section {
        name: "sandbox",
        doc: "What agents, terminals and tools run in.",
        keys: &[
            Key::new(
                "sandbox.allow_unsandboxed",
                K::Bool,
                D::Bool(false),
                "Start agents although bubblewrap is missing. They then read and write whatever octo's user can, octo's own store and keys included.",
            ),
            Key::new(
                "sandbox.max_memory_mb",
                K::Integer(0, 1 << 30),
                D::Derived("half of the machine's memory"),
                "MiB of memory that an agent may use together with everything it started and its private /tmp, 0 = any amount. One that uses more is ended \
                 with all of that, its session says so, and it comes back with its conversation. Linux only.",
            ),
            Key::new(
                "sandbox.max_processes",
                K::Integer(0, 1 << 30),
                D::Integer(4096),
                "Processes and threads that an agent may have together with everything it started, 0 = any number. Beyond them it is ended in the same way. \
                 Linux only.",
            ),
            Key::new(
                "sandbox.max_open_files",
                K::Integer(64, 1 << 30),
                D::Integer(65_536),
                "Files that one process of an agent may have open; never more than octo itself may.",
            ),
        ],
    },
    Section {
        name: "permissions",
        doc: "What becomes of the tool calls of agents that ask for permission. Whatever is said here, the sandbox is what holds; see [permissions.md](permissions.md). \
              A runner takes these as they are when it starts.",
        keys: &[
            Key::new(
                "permissions.default",
                MODE,
                D::Derived("`allow` for pi, `ask` for agents that ask by rules of their own"),
                "`allow` lets tools run without a question, `ask` asks a person, `deny` runs none. A session may be made with another word, or be given one, and what \
                 people have octo remember comes before it.",
            ),
            Key::new(
                "permissions.timeout_seconds",
                K::Integer(0, MAX_SECONDS),
                D::Integer(3600),
                "Seconds after which a question that nobody answers answers itself, 0 = never. One that is not about a tool call is dismissed then.",
            ),
            Key::new(
                "permissions.on_timeout",
                K::Choice(&["deny", "allow"]),
                D::Text("deny"),
                "How a question about a tool call answers itself then. A plan is never approved by itself.",
            ),
        ],
    },
    Section {
        name: "permissions.tools",
        doc: "The same for single tools, by the name that the agent has for them, whatever its capitals: `bash`, `write`, …",
        keys: &[Key::new(
            "permissions.tools.*",
            MODE,
            D::None,
            "Comes before a session's own word. `deny` comes before what people have octo remember, too.",
        )],
    },
    Section {
        name: "runner",
        doc: "octo-runner, the daemon that owns a user's agents.",
        keys: &[
            Key::new("runner.runner_id", K::Text, D::Derived("`OCTO_RUNNER_ID`, else `local`"), "Name of this machine's runners."),
            Key::new(
                "runner.pi_sessions_dir",
                K::Path,
                D::None,
                "Where pi keeps its own session files; `$XDG_DATA_HOME/pi/sessions` when not set. Agents write there.",
            ),
            Key::new("runner.memories_dir", K::Path, D::None, "Where memories are kept.").not_built("memories are not built"),
        ],
    },
    Section {
        name: "journal",
        doc: "What is kept of every user's sessions, and for how long. What history does not hold any more is said where it is shown. \
              A runner takes these, the limits of agents, and when they sleep or are started again, as they are when it starts.",
        keys: &[
            Key::new(
                "journal.keep_events_days",
                K::Integer(0, MAX_DAYS),
                D::Integer(30),
                "Days for which single events (progress, tools, states) are kept, 0 = for ever. Messages stay; a client that comes back after longer starts \
                 from them.",
            ),
            Key::new(
                "journal.keep_messages_days",
                K::Integer(1, MAX_DAYS),
                D::None,
                "Days for which messages are kept; for ever when not set. Older ones go in whole turns.",
            ),
            Key::new(
                "journal.max_size_mb",
                K::Integer(1, 1 << 30),
                D::None,
                "MiB that one user's journal may use. Beyond it the sessions that hold most give first: their events, then their oldest turns. A turn under way \
                 is never cut. Any size when not set.",
            ),
            Key::new(
                "journal.check_interval_seconds",
                K::Integer(1, MAX_SECONDS),
                D::Integer(600),
                "How often to look. In between, a journal may grow over its size.",
            ),
        ],
    },
    Section {
        name: "sessions",
        doc: "How many sessions, and for how long.",
        keys: &[
            Key::new(
                "sessions.auto_attach",
                K::Choice(&["off", "attach", "resume"]),
                D::Text("off"),
                "What the web application does with running sessions.",
            ),
            Key::new("sessions.auto_attach_scan", K::Bool, D::Bool(false), "Look for running sessions at log in."),
            Key::new("sessions.max_concurrent_sessions", K::Integer(1, 100_000), D::Integer(3), "Agents of a user at once.")
                .not_built(NO_CAP),
            Key::new(
                "sessions.idle_timeout_minutes",
                K::Integer(0, MAX_SECONDS / 60),
                D::Integer(30),
                "Put an idle agent to sleep after so many minutes, 0 = never. The next message wakes it, with its conversation. An agent that works, asks, \
                 or has left a process running is not idle; somebody who only watches does not keep it awake.",
            ),
            Key::new(
                "sessions.idle_check_interval_seconds",
                K::Integer(1, MAX_SECONDS),
                D::Integer(300),
                "How often to look for idle agents.",
            ),
            Key::new(
                "sessions.restart_silent_seconds",
                K::Integer(0, MAX_SECONDS),
                D::Integer(0),
                "End and start again an agent that has not answered octo's question for a sign of life for so many seconds though it runs, 0 = never. In any \
                 case its session says so after a minute. A tool that runs long does not keep an agent from answering.",
            ),
            Key::new(
                "sessions.chat_prefetch_limit",
                K::Integer(0, 1000),
                D::Integer(8),
                "Conversations that the web application loads ahead.",
            )
            .not_built("the web application loads a conversation when it is opened"),
        ],
    },
];
