//! The configuration: every key of an existing file is known, mistakes are named, danger stops the start, documents do not drift.
#![allow(clippy::unwrap_used)]

mod support;

use octo::config::{Config, ConfigError, Environment, Overrides, Standing, configuration_md, example_toml, keys, show};
use octo::paths::Paths;
use proptest::prelude::*;

fn env(more: &[(&str, &str)]) -> Environment {
    support::environment(std::path::Path::new("/home/ada"), more)
}

fn load(text: &str, more: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = env(more);
    Config::from_text(&env, Paths::resolve(&env)?, text, &Overrides::default())
}

fn mistake(text: &str) -> String {
    load(text, &[]).map(|_| ()).unwrap_err().to_string()
}

fn start(text: &str, more: &[(&str, &str)], root: bool) -> Result<Vec<String>, String> {
    let config = load(text, more).map_err(|e| e.to_string())?;
    let settings = config.settings().map_err(|e| e.to_string())?;
    let notes = config.check(&settings, Standing { root }).map_err(|e| e.to_string())?;
    Ok(notes.into_iter().chain(config.warnings()).collect())
}

#[test]
fn a_later_source_wins_and_is_named() {
    let config = load("# first\n[server]\nport = 9000\nhost = \"127.0.0.2\"\n", &[("OCTO__SERVER__PORT", "9001")]).unwrap();
    assert_eq!(config.origin("server.port").to_string(), "env OCTO__SERVER__PORT");
    assert_eq!(config.origin("server.host").to_string(), "/home/ada/.config/octo/config.toml:4");
    assert_eq!(config.origin("logging.level").to_string(), "default");
    let settings = config.settings().unwrap();
    assert_eq!((settings.server.port, settings.server.host.as_str()), (9001, "127.0.0.2"));
    let over = Overrides::default().flag("server.port", Some("9002".into()), "--port");
    let env = env(&[("OCTO__SERVER__PORT", "9001")]);
    let config = Config::from_text(&env, Paths::resolve(&env).unwrap(), "", &over).unwrap();
    assert_eq!((config.settings().unwrap().server.port, config.origin("server.port").to_string()), (9002, "flag --port".into()));
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    for (text, want) in [
        ("[server]\nprot = 1", "config.toml:2: server.prot is not a key of octo; did you mean server.port?"),
        ("[sever]\nport = 1", "config.toml:1: sever is not a key of octo; did you mean server?"),
        ("[auth]\nport = 1", "did you mean server.port?"),
        ("[local.linux_users]\nenable = true", "did you mean local.linux_users.enabled?"),
        ("[providers.acme]\napikey = 'SECRET'", "did you mean providers.acme.api_key?"),
        ("[server]\nport = 'x'", "config.toml:2: server.port takes a whole number from 0 to 65535"),
        ("[server]\nport = 70000", "server.port takes a whole number"),
        ("[sessions]\nauto_attach = 'on'", "sessions.auto_attach takes one of off, attach, resume"),
        ("server = 1", "server is a section"),
        ("[pi]\nextensions = 'x'", "pi.extensions takes a list"),
        ("a = ", "config.toml:1: this is not TOML"),
        ("[providers.p]\nmodels = [{ id = 'm', speed = 1 }]", "has an entry with \"speed\""),
    ] {
        let said = mistake(text);
        assert!(said.contains(want), "{text}\n{said}");
        assert!(!said.contains("SECRET"));
    }
    let said = load("", &[("OCTO__SERVER__PROT", "1")]).unwrap_err().to_string();
    assert!(said.contains("did you mean OCTO__SERVER__PORT?"), "{said}");
    let both = mistake("[server]\nprot = 1\n[pi]\nexecutible = 'x'\n");
    assert!(both.contains("server.port") && both.contains("pi.executable"), "all mistakes at once: {both}");
}

#[test]
fn secrets_are_never_shown_and_may_stand_in_the_environment() {
    let secret = "correct-horse-battery-staple-0123456789";
    let text = format!(
        "[auth]\njwt_secret = '{secret}'\n[providers.acme]\napi_key = '{secret}'\nheaders = {{ x-key = '{secret}' }}\nbase_url = 'http://h'\napi = 'openai-completions'\n"
    );
    let config = load(&text, &[]).unwrap();
    let shown = serde_json::to_string(&show(&config, true)).unwrap();
    assert!(!shown.contains(secret) && shown.contains('…'));
    assert!(!format!("{config:?}{:?}", config.settings().unwrap()).contains(secret));
    let config = load("[auth]\njwt_secret = 'env:THE_SECRET'", &[("THE_SECRET", secret)]).unwrap();
    assert!(config.settings().unwrap().auth.jwt_secret.is_some());
    let config = load("[auth]\njwt_secret = 'env:GONE'", &[]).unwrap();
    let said = config.settings().unwrap_err().to_string();
    assert!(said.contains("GONE, which is not set"), "{said}");
}

#[test]
fn a_key_whose_capability_is_not_built_says_so_by_name_and_starts() {
    let notes = start("[voice]\nenabled = true\n[backend]\nmode = 'container'\n[local]\nsingle_user = false\n", &[], false).unwrap();
    for name in ["voice.enabled", "backend.mode", "local.single_user"] {
        assert!(notes.iter().any(|n| n.starts_with(name) && n.contains("has no effect")), "{name}: {notes:?}");
    }
    assert_eq!(start("[voice]\nenabled = false\n", &[], false).unwrap(), Vec::<String>::new(), "a default written down asks for nothing");
}

#[test]
fn what_would_be_dangerous_stops_the_start_with_a_sentence() {
    let good = "0123456789abcdef0123456789ABCDEF";
    for (text, root, want) in [
        ("[auth]\njwt_secret = 'short'", false, "auth.jwt_secret is short"),
        ("[auth]\njwt_secret = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'", false, "can be guessed"),
        ("[auth]\njwt_secret = 'change-me-please-0123456789-abcdefgh'", false, "can be guessed"),
        ("[server]\nhost = '0.0.0.0'", true, "as root it serves on loopback only"),
        ("[server]\nhost = '0.0.0.0'\n[auth]\ndev_mode = true", false, "auth.dev_mode"),
        ("[server]\nadmin_socket = '/home/ada/octo.sock'", false, "server.admin_socket is /home/ada/octo.sock, where agents can reach it"),
        ("[server]\nadmin_socket = '/run/../home/ada/octo.sock'", false, "where agents can reach it"),
        ("[local]\nsingle_user = false\n[local.linux_users]\nenabled = true", false, "local.linux_users.enabled"),
    ] {
        let said = start(text, &[], root).unwrap_err();
        assert!(said.contains(want), "{text}\n{said}");
    }
    assert!(start(&format!("[auth]\njwt_secret = '{good}'"), &[], false).is_ok());
    let notes = start("", &[], true).unwrap();
    assert!(notes[0].contains("as root, so it serves on loopback only"), "{notes:?}");
    assert!(start("[server]\nhost = '0.0.0.0'", &[], false).unwrap()[0].contains("TLS"));
    assert!(start("[server]\nadmin_socket = '/run/octo/admin.sock'\nadmin_group = 'ops'", &[], false).unwrap().is_empty());
    assert!(start("[server]\nadmin_group = 'ops'", &[], false).unwrap()[0].contains("server.admin_group"));
}

#[test]
fn paths_follow_the_environment_and_the_file() {
    let settings = load("[paths]\nstate_dir = '~/elsewhere'\n[local]\nworkspace_dir = '$HOME/w/{user_id}'", &[("XDG_DATA_HOME", "/data")])
        .unwrap()
        .settings()
        .unwrap();
    assert_eq!(settings.paths.data_dir.to_str(), Some("/data/octo"));
    assert_eq!(settings.paths.state_dir.to_str(), Some("/home/ada/elsewhere"));
    assert_eq!(settings.paths.run_dir.to_str(), Some("/home/ada/elsewhere/run"));
    let user = octo::auth::UserId::new("ada").unwrap();
    assert_eq!(settings.sessions.default_workspace(&user).to_str(), Some("/home/ada/w/ada"));
    let runtime = load("", &[("XDG_RUNTIME_DIR", "/run/user/1000")]).unwrap().settings().unwrap();
    assert!(runtime.paths.run_dir.to_str().unwrap().starts_with("/run/user/1000/octo-"));
    let long = format!("/{}", "x".repeat(90));
    let far = load("", &[("XDG_STATE_HOME", &long)]).unwrap().settings().unwrap();
    assert!(far.paths.runner_socket(&user).as_os_str().len() <= 100, "{:?}", far.paths.run_dir);
    assert!(load("[paths]\ndata_dir = 'relative'", &[]).unwrap().settings().unwrap_err().to_string().contains("relative path"));
}

#[test]
fn every_key_of_an_existing_configuration_is_known() {
    // Section 5 of what existing installations use, key by key.
    const EXISTING: &str = "profile logging.level logging.file logging.audit_enabled logging.audit_file runtime.parallelism runtime.timeout \
        runtime.fail_fast paths.data_dir paths.state_dir server.max_upload_size_mb backend.mode backend.runner.user_plane_enabled \
        backend.runner.socket_pattern container.runtime container.binary container.default_image container.base_port container.user_data_path \
        container.skel_path local.enabled local.fileserver_binary local.ttyd_binary local.workspace_dir local.default_agent local.single_user \
        local.cleanup_on_startup local.stop_sessions_on_shutdown local.runner_socket_pattern local.linux_users.enabled local.linux_users.prefix \
        local.linux_users.uid_start local.linux_users.group local.linux_users.shell local.linux_users.use_sudo local.linux_users.create_home \
        runner.runner_id runner.pi_sessions_dir runner.memories_dir pi.enabled pi.executable pi.default_provider pi.default_model pi.extensions \
        pi.max_session_age_hours pi.max_session_size_bytes pi.runtime_mode pi.runner_socket_pattern pi.bridge_url pi.sandboxed \
        pi.idle_timeout_secs eavs.enabled eavs.base_url eavs.container_url eavs.master_key eavs.default_session_budget_usd \
        eavs.default_session_rpm mmry.enabled mmry.local_service_url mmry.host_service_url mmry.host_api_key mmry.default_model mmry.dimension \
        mmry.binary mmry.container_url mmry.user_base_port mmry.user_port_range sldr.enabled sldr.binary sldr.user_base_port \
        sldr.user_port_range hstry.enabled hstry.binary voice.enabled voice.stt_url voice.tts_url voice.vad_timeout_ms voice.default_voice \
        voice.default_speed voice.auto_language_detect voice.tts_muted voice.continuous_mode voice.default_visualizer \
        voice.interrupt_word_count voice.interrupt_backoff_ms voice.visualizer_voices sessions.auto_attach sessions.auto_attach_scan \
        sessions.max_concurrent_sessions sessions.idle_timeout_minutes sessions.idle_check_interval_seconds sessions.chat_prefetch_limit \
        auth.dev_mode auth.jwt_secret auth.oidc_issuer auth.oidc_audience auth.dev_users auth.allowed_origins templates.repo_path \
        templates.type templates.sync_on_list templates.sync_interval_seconds onboarding_templates.repo_url onboarding_templates.local_path \
        onboarding_templates.cache_path onboarding_templates.sync_enabled onboarding_templates.sync_interval_seconds \
        onboarding_templates.use_embedded_fallback onboarding_templates.branch onboarding_templates.subdirectory \
        onboarding_templates.defaults onboarding_templates.presets feedback.public_dropbox feedback.private_archive feedback.keep_public \
        feedback.sync_interval_seconds scaffold.binary scaffold.subcommand scaffold.template_arg scaffold.output_arg scaffold.github_arg \
        scaffold.private_arg scaffold.description_arg agent_browser.enabled agent_browser.binary agent_browser.headed \
        agent_browser.stream_port_base agent_browser.stream_port_range agent_browser.executable_path agent_browser.extensions \
        server.host server.port sandbox.allow_unsandboxed auth.query_token";
    for path in EXISTING.split_whitespace() {
        assert!(octo::config::find(path).is_some(), "{path}");
    }
    for key in keys() {
        assert!(key.doc.ends_with('.') && !key.doc.is_empty(), "{} is documented in sentences", key.path);
    }
}

#[test]
fn a_collector_is_named_as_it_is_reached_and_its_headers_are_not_sent_in_the_clear_unsaid() {
    let text = |endpoint: &str| format!("[telemetry]\notlp_endpoint = {endpoint:?}\notlp_headers = \"env:HEADERS\"\nsample_ratio = 0.25\n");
    let env = [("HEADERS", "authorization=Bearer of-the-collector")];
    assert!(load("", &[]).unwrap().settings().unwrap().telemetry.is_none());
    let config = load(&text("http://127.0.0.1:4318"), &env).unwrap();
    let telemetry = config.settings().unwrap().telemetry.unwrap();
    assert_eq!((telemetry.endpoint.as_str(), telemetry.sample_ratio), ("http://127.0.0.1:4318/v1/traces", 0.25));
    assert!(!format!("{telemetry:?}").contains("of-the-collector"));
    assert_eq!(start(&text("http://127.0.0.1:4318"), &env, false), Ok(vec![]));
    let notes = start(&text("http://192.0.2.7:4318"), &env, false).unwrap();
    assert!(notes.iter().any(|note| note.contains("in the clear")), "{notes:?}");
    assert_eq!(start(&text("https://192.0.2.7"), &env, false), Ok(vec![]));
    for (bad, what) in [("collector:4317", "http"), ("http://me:secret@127.0.0.1", "must not hold a password")] {
        let said = start(&text(bad), &env, false).unwrap_err();
        assert!(said.contains(what) && !said.contains("secret@"), "{said}");
    }
    let said = start("[telemetry]\nsample_ratio = 1.5\n", &[], false).unwrap_err();
    assert!(said.contains("from 0 to 1"), "{said}");
}

#[test]
fn documents_are_made_from_the_table() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    for (name, want) in [("configuration.md", configuration_md()), ("examples/config.toml", example_toml())] {
        let path = format!("{root}/{name}");
        if std::env::var_os("OCTO_UPDATE").is_some() {
            std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(&path, &want).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == want, "docs/{name} has drifted: run with OCTO_UPDATE=1");
    }
}

#[test]
fn the_example_file_loads_and_says_nothing_but_defaults() {
    let config = load(&example_toml(), &[]).unwrap();
    let settings = config.settings().unwrap();
    assert_eq!(config.check(&settings, Standing { root: false }).unwrap(), Vec::<String>::new());
    assert_eq!(config.warnings(), Vec::<String>::new());
    let uncommented: String = example_toml()
        .lines()
        .map(|l| {
            l.strip_prefix("# ").filter(|l| l.starts_with('[') || l.contains(" = ")).map_or_else(|| l.to_owned(), str::to_owned) + "\n"
        })
        .collect();
    let mistakes = load(&uncommented, &[]).map(|_| String::new()).unwrap_or_else(|e| e.to_string());
    assert!(!mistakes.contains("is not a key"), "examples name keys that exist: {mistakes}");
}

proptest! {
    #[test]
    fn no_text_makes_the_configuration_panic(text in ".{0,400}") {
        let _ = load(&text, &[]).and_then(|c| c.settings());
    }

    #[test]
    fn no_toml_makes_the_configuration_panic(
        section in prop::sample::select(vec!["server", "auth", "pi", "providers.p", "local.linux_users", "eavs", "sandbox", "paths", "nope"]),
        name in prop::sample::select(vec!["port", "host", "models", "headers", "jwt_secret", "enabled", "data_dir", "'a.b'", "extensions"]),
        value in prop::sample::select(vec!["1", "-1", "1e400", "nan", "0xffffffffffffffff", "true", "''", "'\u{0}'", "[]", "[1,[2]]", "{a={b=1}}", "[{id=1}]", "1979-05-27", "'env:X'", "\"\\u0000\""]),
    ) {
        let _ = load(&format!("[{section}]\n{name} = {value}\n"), &[]).and_then(|c| c.settings());
    }
}

fn harnesses(text: &str, more: &[(&str, &str)]) -> Result<octo::config::Harnesses, String> {
    load(text, more).and_then(|config| config.settings()).map(|settings| settings.harnesses).map_err(|error| error.to_string())
}

#[test]
fn the_registry_has_what_comes_with_octo_and_what_the_file_adds_and_changes() {
    let built_in = harnesses("", &[]).unwrap();
    let shown: Vec<_> =
        built_in.iter().map(|h| (h.name.as_str(), h.label.as_str(), h.protocol.as_str(), h.command.as_str(), h.enabled)).collect();
    assert_eq!(shown, [("pi", "pi", "pi-rpc", "pi", true), ("claude", "Claude Code", "claude-stream-json", "claude", true)]);
    assert_eq!(built_in.find("claude-code").unwrap().name, "claude");
    let text = "[pi]\nexecutable = '/opt/old/pi'\n[harness.claude-code]\nenabled = false\nlabel = 'Claude'\n\
                [harness.pi-next]\nlabel = 'pi (next)'\nprotocol = 'pi-rpc'\ncommand = '~/pi/bin/pi'\nargs = ['--verbose']\n\
                env = { TOKEN = 'env:THE_TOKEN', PLAIN = 'as it is' }\nmodels = ['anthropic/claude-*']\npermissions = 'ask'\nsandbox = 'strict'\n";
    let all = harnesses(text, &[("THE_TOKEN", "a secret")]).unwrap();
    assert_eq!(all.find("pi").unwrap().command, "/opt/old/pi");
    assert_eq!(all.names(), "pi, pi-next");
    assert_eq!(all.find("claude").unwrap().label, "Claude");
    let next = all.find("pi-next").unwrap();
    let told = next.provisioned();
    assert_eq!((told.name.as_str(), told.protocol.as_str(), told.command.as_str()), ("pi-next", "pi-rpc", "/home/ada/pi/bin/pi"));
    assert_eq!(
        (told.args.as_slice(), told.env["TOKEN"].as_str(), told.env["PLAIN"].as_str()),
        (&["--verbose".to_owned()][..], "a secret", "as it is")
    );
    assert_eq!((told.permissions.map(octo_protocol::PermissionMode::as_str), told.sandbox.as_deref()), (Some("ask"), Some("strict")));
    assert!(next.offers("anthropic", "claude-sonnet-4-5") && !next.offers("openai", "gpt"));
    assert!(all.find("pi").unwrap().offers("openai", "gpt"), "without patterns it is offered all");
    assert!(!format!("{all:?}{told:?}").contains("a secret"), "the environment is never shown");
}

#[test]
fn a_mistake_in_the_registry_is_named_with_its_line_and_key() {
    for (text, want) in [
        (
            "[pi]\nenabled = true\n[harness.pi]\nenabled = true",
            "config.toml:2: pi.enabled means the same as harness.pi.enabled (/home/ada/.config/octo/config.toml:4): keep one of the two",
        ),
        ("[pi]\nexecutable = 'x'\n[harness.pi]\ncommand = 'y'", "pi.executable means the same as harness.pi.command"),
        (
            "[harness.claude]\nlabel = 'a'\n[harness.claude-code]\nlabel = 'b'",
            "config.toml:4: harness.claude-code.label means the same as harness.claude.label",
        ),
        ("[harness.x]\ncommand = 'x'", "config.toml:2: [harness.x] has no protocol: write protocol = \"pi-rpc\""),
        ("[harness.x]\nprotocol = 'pi-rpc'", "config.toml:2: [harness.x] has no command"),
        (
            "[harness.x]\nprotocol = 'acp'\ncommand = 'x'",
            "config.toml:2: harness.x.protocol = \"acp\" asks for what this build does not speak yet",
        ),
        (
            "[harness.x]\nprotocol = 'pi-rpc'\ntransport = 'bridge'\nurl = 'http://b:1'\ntoken = 'tttttttttttttttt'",
            "config.toml:2: harness.x.protocol means nothing with transport = \"bridge\"",
        ),
        ("[harness.x]\ntransport = 'bridge'\ntoken = 't'", "config.toml:3: [harness.x] has no url: write where its bridge answers"),
        ("[harness.x]\ntransport = 'bridge'\nurl = 'http://b:1'", "config.toml:2: [harness.x] has no token"),
        (
            "[harness.x]\ntransport = 'bridge'\nurl = 'http://b:1'\ntoken = 'env:GONE'",
            "config.toml:4: harness.x.token names the environment variable GONE, which is not set",
        ),
        ("[harness.x]\ntransport = 'bridge'\nurl = 'https://b'\ntoken = 't'", "config.toml:3: harness.x.url is no address of a bridge"),
        ("[harness.x]\ntransport = 'bridge'\nurl = 'http://u:p@b'\ntoken = 't'", "harness.x.url is no address of a bridge"),
        (
            "[harness.pi]\ntransport = 'bridge'\nurl = 'http://b:1'\ntoken = 't'",
            "config.toml:2: harness.pi.transport cannot be bridge: pi runs on this machine",
        ),
        (
            "[harness.x]\nprotocol = 'pi-rpc'\ncommand = 'x'\nurl = 'http://b:1'",
            "config.toml:4: harness.x.url is of agents behind a bridge",
        ),
        (
            "[harness.pi]\nprotocol = 'claude-stream-json'",
            "config.toml:2: harness.pi.protocol cannot be claude-stream-json: pi speaks pi-rpc",
        ),
        ("[harness.x]\nprotocol = 'pi-rpc'\ncommand = 'bin/x'", "config.toml:3: harness.x.command is a relative path"),
        ("[harness.pi]\nenv = { PATH = '/x' }", "config.toml:2: harness.pi.env has \"PATH\""),
        ("[harness.pi]\nenv = { OCTO_X = '1' }", "harness.pi.env has \"OCTO_X\""),
        ("[harness.pi]\nenv = { \"a b\" = '1' }", "harness.pi.env has \"a b\""),
        ("[harness.pi]\nenv = { A = 1 }", "harness.pi.env takes texts or env:NAME, and A is something else"),
        ("[harness.pi]\nenv = { A = 'env:GONE' }", "harness.pi.env names the environment variable GONE, which is not set"),
        ("[harness.pi]\nmodels = ['sonnet']", "config.toml:2: harness.pi.models has \"sonnet\": write provider/model"),
        ("[harness.pi]\nargs = [\"a\\u0000b\"]", "config.toml:2: harness.pi.args has an argument with a NUL"),
    ] {
        let said = harnesses(text, &[]).map(|_| ()).unwrap_err();
        assert!(said.contains(want), "{text}\n{said}");
    }
    for (text, want) in [
        ("[harness.x]\nprotocol = 'mcp'", "config.toml:2: harness.x.protocol takes one of pi-rpc, claude-stream-json, acp"),
        ("[harness.x]\nsandbox = 'none'", "harness.x.sandbox takes one of minimal, development, strict"),
        ("[harness.x]\npermissions = 'yes'", "harness.x.permissions takes one of allow, ask, deny"),
        ("[harness.x]\ncomand = 'x'", "harness.x.comand is not a key of octo; did you mean harness.x.command?"),
        ("[harness.x]\n", "config.toml:1: [harness.x] is empty"),
    ] {
        let said = mistake(text);
        assert!(said.contains(want), "{text}\n{said}");
    }
    let notes = start("[local]\ndefault_agent = 'opencode'\n", &[], false).unwrap();
    assert!(notes.iter().any(|note| note.contains("local.default_agent is \"opencode\"") && note.contains("pi, claude")), "{notes:?}");
}
