//! The server itself: listener, log ins, logs, directories.

use crate::config::key::Default as D;
use crate::config::key::Key;
use crate::config::key::Kind as K;
use crate::config::table::Section;

pub(in crate::config) const SECTIONS: &[Section] = &[
    Section {
        name: "",
        doc: "At the top of the file, before the first section.",
        keys: &[Key::new(
            "profile",
            K::Text,
            D::Text("default"),
            "Name of this configuration, shown by `octo doctor`; it changes nothing else.",
        )],
    },
    Section {
        name: "server",
        doc: "Where octo listens.",
        keys: &[
            Key::new(
                "server.host",
                K::Text,
                D::Text("127.0.0.1"),
                "Address or host name to listen on. Off loopback, put a proxy with TLS in front; as root octo listens on loopback only. `octo serve --host` wins.",
            ),
            Key::new(
                "server.port",
                K::Integer(0, 65_535),
                D::Integer(8080),
                "Port to listen on; 0 lets the system choose one. `octo serve --port` wins.",
            ),
            Key::new(
                "server.max_connections",
                K::Integer(16, 1_000_000),
                D::Integer(32_768),
                "Connections at once, WebSockets included; further ones are answered with 503. Never more than the limit of open files allows, which octo raises to the hard one.",
            ),
            Key::new(
                "server.max_connections_per_address",
                K::Integer(0, 1_000_000),
                D::Derived("1024; of this machine itself, where a proxy may stand, any number"),
                "Connections at once from one address (IPv6: from one /64; a proxy on another machine is one address); further ones are answered with 429. Set, it holds for every address; 0 is any number.",
            ),
            Key::new(
                "server.max_connections_per_account",
                K::Integer(1, 1_000_000),
                D::Integer(16_384),
                "WebSockets of one account at once; further upgrades are answered with 429.",
            ),
            Key::new(
                "server.ping_seconds",
                K::Integer(1, 3600),
                D::Integer(30),
                "Seconds between two pings on a WebSocket. A client that says nothing for two and a half times as long is gone. Less than the idle timeout of a proxy in front.",
            ),
            Key::new(
                "server.admin_socket",
                K::Path,
                D::Derived("`<run_dir>/admin.sock`"),
                "The admin socket, through which `octoctl` looks inside. Whoever runs as octo's own user, or as root, is an admin there; so it has to be where agents do not see it: in octo's own directories, or below `/run`.",
            ),
            Key::new(
                "server.admin_group",
                K::Text,
                D::None,
                "Group whose members are admins on the admin socket too. Put `server.admin_socket` into a directory that they can enter: octo's own are closed to others.",
            ),
            Key::new(
                "server.metrics_token",
                K::Text,
                D::None,
                "Whoever sends it as `Authorization: Bearer` may read `/metrics`, and nothing else: the token for Prometheus, at least 32 characters. Admins may without it; nobody else may.",
            )
            .secret(),
            Key::new("server.max_upload_size_mb", K::Integer(1, 4096), D::Integer(100), "Largest upload in MiB.")
                .not_built("there are no uploads; a request has at most 1 MiB, a frame of the mux 16 MiB"),
        ],
    },
    Section {
        name: "auth",
        doc: "Who may use octo, and from which pages.",
        keys: &[
            Key::new("auth.dev_mode", K::Bool, D::Bool(false), "Log in without a password, for developing octo.")
                .not_built("log ins without a password are not built; everybody logs in with a password"),
            Key::new(
                "auth.jwt_secret",
                K::Text,
                D::Derived("made at first start and kept in the store"),
                "Signs log ins; at least 32 characters. Set it only to share log ins between servers.",
            )
            .secret(),
            Key::new("auth.oidc_issuer", K::Text, D::None, "Issuer of an OpenID Connect provider.")
                .not_built("log in by OpenID Connect is not built; accounts have passwords"),
            Key::new("auth.oidc_audience", K::Text, D::None, "Audience of its tokens.")
                .not_built("log in by OpenID Connect is not built; accounts have passwords"),
            Key::new(
                "auth.dev_users",
                K::Tables(&["id", "name", "email", "password_hash", "password", "role"]),
                D::None,
                "Accounts of the dev mode.",
            )
            .not_built("log ins without a password are not built; everybody logs in with a password")
            .secret(),
            Key::new(
                "auth.allowed_origins",
                K::List,
                D::List(&[]),
                "Origins (`https://octo.example.com`) of pages that may use octo with its cookie, besides octo's own page. Their host names count as `auth.allowed_hosts`.",
            ),
            Key::new(
                "auth.allowed_hosts",
                K::List,
                D::List(&[]),
                "Host names under which octo answers, besides loopback, IP addresses and `server.host`. Others are refused, so that no foreign page can reach octo by rebinding its name.",
            ),
            Key::new(
                "auth.query_token",
                K::Bool,
                D::Bool(false),
                "Take `?token=` on WebSocket upgrades, for older clients. Tokens in URLs end up in logs: prefer `POST /api/auth/ws-ticket`.",
            ),
            Key::new(
                "auth.token_hours",
                K::Integer(1, 8760),
                D::Integer(24),
                "Hours that a log in lasts. Log out and a password change end it at once.",
            ),
            Key::new(
                "auth.allow_plain_http",
                K::Bool,
                D::Bool(false),
                "Let browsers log in over http from other machines. Their cookie then crosses the network in the clear.",
            ),
        ],
    },
    Section {
        name: "logging",
        doc: "What octo writes down.",
        keys: &[
            Key::new(
                "logging.level",
                K::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
                D::Text("info"),
                "How much. `RUST_LOG` wins.",
            ),
            Key::new(
                "logging.format",
                K::Choice(&["text", "json"]),
                D::Text("text"),
                "Lines for people, or one JSON object a line: timestamp, level, target, the message and what belongs to it (user, session, path, connection) as fields, and the spans around it. Of octo, and of the daemons that it starts from then on. `OCTO_LOG_FORMAT` wins.",
            ),
            Key::new("logging.file", K::Path, D::None, "Log there instead of to standard error."),
            Key::new("logging.audit_enabled", K::Bool, D::Bool(true), "Write every authenticated request and log in to the audit file."),
            Key::new(
                "logging.audit_file",
                K::Path,
                D::Derived("`<state_dir>/audit.log.jsonl`"),
                "The audit file: one JSON object a line, no secrets.",
            ),
        ],
    },
    Section {
        name: "telemetry",
        doc: "Traces of turns, for a collector of the operator's. Nothing is recorded while no collector is named.",
        keys: &[
            Key::new(
                "telemetry.otlp_endpoint",
                K::Text,
                D::None,
                "URL of a collector that takes OTLP over HTTP, for example `http://127.0.0.1:4318`; without a path, `/v1/traces` is meant. octo alone sends, also what runners and octo-eavs have recorded. Spans hold names of users, sessions, models and tools, and never what somebody wrote.",
            ),
            Key::new("telemetry.otlp_headers", K::Text, D::None, "Headers for the collector: `name=value` pairs with commas between them.")
                .secret(),
            Key::new(
                "telemetry.sample_ratio",
                K::Number(0.0),
                D::Number(1.0),
                "Which part of the traces that octo begins is recorded, from 0 to 1. A client that sends a `traceparent` decides for its own.",
            ),
            Key::new(
                "telemetry.service_name",
                K::Text,
                D::Text("octo"),
                "What octo is called at the collector; runners and octo-eavs are called that with `-runner` and `-eavs`.",
            ),
        ],
    },
    Section {
        name: "paths",
        doc: "Where octo keeps its things. Each is private to its user.",
        keys: &[
            Key::new(
                "paths.data_dir",
                K::Path,
                D::Derived("`$XDG_DATA_HOME/octo`, else `~/.local/share/octo`"),
                "Stores, journals, installed agents.",
            ),
            Key::new(
                "paths.state_dir",
                K::Path,
                D::Derived("`$XDG_STATE_HOME/octo`, else `~/.local/state/octo`"),
                "Logs, audit, the first credentials.",
            ),
        ],
    },
    Section {
        name: "runtime",
        doc: "Of commands that work on many things at once.",
        keys: &[
            Key::new("runtime.parallelism", K::Integer(1, 1024), D::Derived("number of CPUs"), "Things done at once.")
                .not_built("no command works on many things at once yet"),
            Key::new("runtime.timeout", K::Integer(1, 86_400), D::Integer(60), "Seconds for one of them.")
                .not_built("no command works on many things at once yet"),
            Key::new("runtime.fail_fast", K::Bool, D::Bool(true), "Stop at the first failure.")
                .not_built("no command works on many things at once yet"),
        ],
    },
];
