//! The registry of agents: an agent of the configuration's own, one that is gone from it, agents that cannot start, providers that refuse.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Client, Instance, Options, Turn, binary, demo_prompt, processes};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const SESSION: &str = "ses_h";
const TOKEN: &str = "canary-5b21c9d07e";

/// What `[harness.pi-next]` says in these tests.
fn next() -> String {
    format!(
        "[harness.pi-next]\nlabel = \"pi (next)\"\nprotocol = \"pi-rpc\"\ncommand = {:?}\nargs = [\"--of-the-registry\"]\n\
         env = {{ NEXT_TOKEN = \"env:THE_TOKEN\" }}\nmodels = [\"demo/*\"]\n",
        binary("octo-scripted-agent")
    )
}

fn options(registry: &str) -> Options {
    let scripted = Options::scripted();
    let config = format!("{}{registry}", scripted.config);
    Options { config, env: vec![("THE_TOKEN".to_owned(), TOKEN.to_owned())], ..scripted }
}

async fn started(registry: &str) -> (Instance, Client) {
    let mut instance = Instance::new(options(registry));
    instance.start().await;
    let client = Client::connect(&instance).await;
    (instance, client)
}

/// octo comes back with another registry; its runner and agents go on meanwhile.
async fn reconfigured(instance: &mut Instance, client: &mut Client, registry: &str) {
    instance.stop_octo().await;
    std::fs::write(instance.home().join(".config/octo/config.toml"), options(registry).config).unwrap();
    instance.start().await;
    client.reconnect_to(instance).await;
}

async fn prompted(client: &mut Client) {
    client.command(SESSION, json!({"cmd": "prompt", "message": "hello"})).await;
    client.idle(SESSION).await;
}

async fn get(client: &Client, instance: &Instance, path: &str) -> Value {
    octo_e2e::request("GET", &format!("{}{path}", instance.url()), Some(client.token()), None).await.unwrap().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_the_registry_runs_under_its_own_name_as_the_registry_says() {
    let (instance, mut client) = started(&next()).await;
    let opened = client.create_of("pi-next", SESSION, &instance.workspace()).await;
    assert_eq!(opened["harness"], "pi-next", "{opened}");
    prompted(&mut client).await;
    let sessions = get(&client, &instance, "/api/sessions").await;
    assert_eq!(sessions[0]["harness"], "pi-next", "{sessions}");
    let agent = instance.agents().into_iter().find(|agent| agent.command_line().contains("--mode")).expect("an agent runs");
    assert!(agent.command_line().trim_end().ends_with("--of-the-registry"), "after octo's own arguments: {}", agent.command_line());
    assert!(agent.environment().contains(&format!("NEXT_TOKEN={TOKEN}")), "its environment is the registry's");
    // What may be secret is in no command line, and in no other process's environment but octo's own, where it came from.
    for process in processes() {
        assert!(!process.command_line().contains(TOKEN), "{process:?} has it in its command line");
    }
    assert!(!instance.runner().environment().contains(TOKEN));
    let logs: Vec<PathBuf> = instance.files_with(TOKEN).into_iter().filter(|file| file.extension().is_some_and(|e| e == "log")).collect();
    assert!(logs.is_empty(), "{logs:?}");
    // A session that is made from it has the same agent.
    let made = client.command(SESSION, json!({"cmd": "session.new"})).await;
    let id = made["session_id"].as_str().unwrap().to_owned();
    assert_eq!(client.command(&id, json!({"cmd": "session.attach"})).await["harness"], "pi-next");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_what_can_be_had_how_to_get_the_rest_and_which_models_each_is_offered() {
    let registry = format!("{}[harness.off]\nenabled = false\nprotocol = \"pi-rpc\"\ncommand = \"pi\"\n", next());
    let (instance, client) = started(&registry).await;
    let list = get(&client, &instance, "/api/harnesses").await;
    let list = list.as_array().unwrap();
    let names: Vec<_> = list.iter().map(|entry| (entry["name"].as_str().unwrap(), entry["installed"].as_bool().unwrap())).collect();
    assert_eq!(names, [("pi", true), ("claude", false), ("pi-next", true)], "what is switched off is not offered");
    assert_eq!(list[1]["how_to_get"], "`octo agents install claude` on the server installs it");
    assert_eq!((&list[0]["is_default"], &list[2]["label"]), (&json!(true), &json!("pi (next)")));
    assert_eq!(list[2]["models"][0]["provider"], "demo", "{}", list[2]);
    assert!(list[2]["models"][0]["contextWindow"].as_u64().unwrap() > 0);
    let unnamed = octo_e2e::request("GET", &format!("{}/api/harnesses", instance.url()), None, None).await.unwrap();
    assert_eq!(unnamed.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_offered_is_refused_with_what_is() {
    let registry = "[providers.corp]\napi = \"openai-completions\"\nbase_url = \"http://127.0.0.1:9\"\nmodels = [{ id = \"m1\" }]\n\
                    [harness.off]\nenabled = false\nprotocol = \"pi-rpc\"\ncommand = \"pi\"\n";
    let (instance, mut client) = started(&format!("{}{registry}", next())).await;
    let create = |config: Value| {
        let mut config = config;
        config["cwd"] = json!(instance.workspace());
        json!({"cmd": "session.create", "config": config})
    };
    let (code, sentence) = client.refused(SESSION, create(json!({"harness": "pi-next", "provider": "corp", "model": "m1"}))).await;
    assert_eq!(code, "invalid_request");
    assert!(sentence.contains("harness.pi-next.models does not offer corp/m1") && sentence.contains("demo/"), "{sentence}");
    let (code, sentence) = client.refused(SESSION, create(json!({"harness": "off"}))).await;
    assert_eq!((code.as_str(), sentence.contains("off.enabled = false")), ("unsupported", true), "{sentence}");
    let (code, sentence) = client.refused(SESSION, create(json!({"harness": "opencode"}))).await;
    assert_eq!((code.as_str(), sentence.contains("pi, claude, pi-next")), ("unsupported", true), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_agent_is_gone_from_the_configuration_can_be_read_and_goes_on_when_it_is_back() {
    let (mut instance, mut client) = started(&next()).await;
    client.create_of("pi-next", SESSION, &instance.workspace()).await;
    prompted(&mut client).await;
    let before = client.history(SESSION).await;
    client.command(SESSION, json!({"cmd": "session.close"})).await;

    reconfigured(&mut instance, &mut client, "").await;
    for refused in [json!({"cmd": "prompt", "message": "still there?"}), json!({"cmd": "session.restart"}), json!({"cmd": "session.new"})] {
        let (code, sentence) = client.refused(SESSION, refused).await;
        assert_eq!(code, "unsupported", "{sentence}");
        assert!(
            sentence.contains("pi-next") && sentence.contains("[harness.pi-next]") && sentence.contains("stays readable"),
            "{sentence}"
        );
    }
    let opened = client.command(SESSION, json!({"cmd": "session.create", "config": {"cwd": instance.workspace()}})).await;
    assert_eq!(opened["harness"], "pi-next", "whoever opens it sees it: {opened}");
    assert_eq!(client.history(SESSION).await, before);

    reconfigured(&mut instance, &mut client, &next()).await;
    client.attach(SESSION).await.unwrap();
    prompted(&mut client).await;
    assert!(client.history(SESSION).await.len() > before.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_says_of_permissions_and_the_sandbox_holds_for_sessions_that_say_nothing() {
    let config = "[harness.pi]\npermissions = \"ask\"\nsandbox = \"strict\"\n".to_owned();
    let mut instance = Instance::new(Options { config, ..Options::default() });
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create(SESSION, &instance.workspace()).await;
    let write = [Turn::text("I write.").bash("touch ~/outside 2>/dev/null && echo wrote || echo could-not"), Turn::text("Done.")];
    client.command(SESSION, json!({"cmd": "prompt", "message": demo_prompt("Write.", &write)})).await;
    let asked = client.event(SESSION, |frame| frame["event"] == "agent.input_needed").await.unwrap();
    let request = &asked["request"]["request_id"];
    client.command(SESSION, json!({"cmd": "input_response", "request_id": request, "option_id": "allow_once"})).await;
    client.idle(SESSION).await;
    let history = client.history(SESSION).await;
    let tool = history.iter().find(|message| message["role"] == "tool").expect("the tool ran");
    assert!(tool["parts"][0]["output"].to_string().contains("could-not"), "the home is read-only: {tool}");
}

/// A program in the instance's own home, which agents see.
fn program(instance: &Instance, name: &str, text: &str) -> PathBuf {
    let path = instance.home().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_no_agent_of_its_protocol_fails_with_its_own_words_and_the_session_goes_on() {
    // An older one, which knows no such mode; told by a file, so that the same session gets a better one later.
    let mut instance = Instance::new(options(""));
    let old = format!(
        "#!/bin/sh\nif [ -e \"$HOME/old\" ]; then echo \"error: unknown option '--mode' (this is 0.12.0)\" >&2; exit 2; fi\nexec {} \"$@\"\n",
        binary("octo-scripted-agent").display()
    );
    let path = program(&instance, "some-pi", &old);
    let registry = format!("[harness.some]\nprotocol = \"pi-rpc\"\ncommand = {path:?}\n");
    std::fs::write(instance.home().join(".config/octo/config.toml"), options(&registry).config).unwrap();
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create_of("some", SESSION, &instance.workspace()).await;
    prompted(&mut client).await;
    client.command(SESSION, json!({"cmd": "session.close"})).await;
    let old = instance.home().join("old");
    std::fs::write(&old, "").unwrap();
    client.command(SESSION, json!({"cmd": "prompt", "message": "hello?"})).await;
    let error = client.event(SESSION, |frame| frame["event"] == "agent.error").await.unwrap();
    assert!(error["error"].as_str().unwrap().contains("unknown option '--mode' (this is 0.12.0)"), "{error}");
    std::fs::remove_file(old).unwrap();
    prompted(&mut client).await;
    // Nor is one that is taken away the end of its sessions.
    client.command(SESSION, json!({"cmd": "session.close"})).await;
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).unwrap();
    client.command(SESSION, json!({"cmd": "prompt", "message": "hello?"})).await;
    let error = client.event(SESSION, |frame| frame["event"] == "agent.error").await.unwrap();
    assert!(error["error"].as_str().unwrap().contains("is not a program: mend the agent's `command`"), "{error}");
    std::fs::rename(&away, &path).unwrap();
    prompted(&mut client).await;
}

/// A provider on loopback that knows no key, and answers so.
async fn refusing_provider() -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut request, mut buffer) = (Vec::new(), [0; 16 * 1024]);
                loop {
                    let read = socket.read(&mut buffer).await.unwrap_or(0);
                    request.extend_from_slice(&buffer[..read]);
                    let text = String::from_utf8_lossy(&request);
                    let length =
                        text.to_ascii_lowercase().split("content-length:").nth(1).and_then(|l| l.lines().next()?.trim().parse().ok());
                    let whole =
                        text.find("\r\n\r\n").zip(length).is_some_and(|(head, length): (usize, usize)| request.len() >= head + 4 + length);
                    let chunked = text.to_ascii_lowercase().contains("transfer-encoding: chunked") && text.ends_with("0\r\n\r\n");
                    if read == 0 || whole || chunked {
                        break;
                    }
                }
                let body = r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#;
                let head = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close\r\n";
                let _ = socket.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await;
            });
        }
    });
    port
}

/// A session of a real agent with a provider that refuses its key, or is not there, fails with a sentence, and can be gone on with.
async fn refused(harness: &str, words: &str) {
    let port = refusing_provider().await;
    let provider = |name: &str, port: u16| {
        format!(
            "[providers.{name}]\napi = \"anthropic-messages\"\nbase_url = \"http://127.0.0.1:{port}\"\napi_key = \"wrong\"\nmodels = [{{ id = \"m1\" }}]\n"
        )
    };
    let config = format!(
        "{}[providers.keyless]\napi = \"anthropic-messages\"\nbase_url = \"http://127.0.0.1:9\"\napi_key = \"env:NO_SUCH_KEY\"\nmodels = [{{ id = \"m1\" }}]\n",
        provider("corp", port)
    );
    let mut instance = Instance::new(Options { config, ..Options::default() });
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    let config = |provider: &str| json!({"harness": harness, "cwd": instance.workspace(), "provider": provider, "model": "m1"});
    let (code, sentence) = client.refused("ses_k", json!({"cmd": "session.create", "config": config("keyless")})).await;
    assert_eq!((code.as_str(), sentence.contains("NO_SUCH_KEY")), ("invalid_request", true), "{sentence}");

    client.command(SESSION, json!({"cmd": "session.create", "config": config("corp")})).await;
    client.command(SESSION, json!({"cmd": "prompt", "message": "hello"})).await;
    let error = client.event(SESSION, |frame| frame["event"] == "agent.error").await.unwrap();
    assert!(error["error"].as_str().unwrap().contains(words), "a sentence, as the agent has it: {error}");
    let models = client.command(SESSION, json!({"cmd": "get_models"})).await;
    assert!(models.as_array().is_some_and(|models| !models.is_empty()), "the session goes on: {models}");
    client.command(SESSION, json!({"cmd": "set_model", "provider": "corp", "model_id": "m1"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_pis_key_ends_the_turn_with_a_sentence() {
    refused("pi", "invalid x-api-key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_claudes_key_ends_the_turn_with_a_sentence() {
    refused("claude", "Invalid API key").await;
}

fn doctor(instance: &Instance, arguments: &[&str]) -> (Option<i32>, String) {
    let output = instance.command("octo").args(["agents", "doctor"]).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_asks_the_real_agents_and_tells_the_last_words_of_one_that_fails() {
    let mut instance = Instance::new(Options::default());
    let broken = program(&instance, "broken", "#!/bin/sh\necho 'the frobnicator is missing' >&2\nexit 3\n");
    let config = format!("[harness.broken]\nprotocol = \"pi-rpc\"\ncommand = {broken:?}\n");
    std::fs::write(instance.home().join(".config/octo/config.toml"), config).unwrap();
    // octo does not run, so octo-eavs does not: that is said, and the agents answer all the same.
    let (code, text) = doctor(&instance, &["pi", "claude"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("in its sandbox, and answers").count(), 2, "{text}");
    assert!(text.contains("octo-eavs does not run"), "{text}");
    let (code, text) = doctor(&instance, &["broken"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("exit code 3") && text.contains("the frobnicator is missing"), "{text}");
    instance.start().await;
    let client = Client::connect(&instance).await;
    // Answers when octo-eavs does.
    assert_eq!(get(&client, &instance, "/api/harnesses").await[0]["models"][0]["provider"], "demo");
    let (code, text) = doctor(&instance, &["pi"]);
    assert_eq!((code, text.contains("demo")), (Some(0), true), "{text}");
    assert!(instance.agents().is_empty(), "what was started is gone");
}
