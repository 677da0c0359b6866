//! Start, reload, end: what survives and what is refused.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::instance::{Instance, PATIENCE};
use crate::provider::{Provider, config};

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

async fn run(mut command: std::process::Command) -> Output {
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::timeout(PATIENCE, running).await.expect("it did not end").unwrap()
}

#[tokio::test]
async fn keys_and_usage_survive_kill_9_as_soon_as_they_are_acknowledged() {
    let mut eavs = Instance::start("").await;
    let mut secrets = Vec::new();
    for n in 0..20 {
        secrets.push(eavs.key(&format!("k/{n}"), json!({"rpm": 1000 + n})).await);
    }
    assert_eq!(eavs.admin("DELETE", "/admin/keys/k%2F0", Value::Null).await.0, 204);
    let last = eavs.key("last", json!({})).await;
    eavs.signal(Signal::SIGKILL);
    eavs.wait().await;
    eavs.spawn().await;
    let keys = eavs.admin("GET", "/admin/keys", Value::Null).await.1;
    assert_eq!(keys.as_array().unwrap().len(), 20);
    assert_eq!(keys[0]["permissions"]["rpm"], 1001);
    let hello = "{\"messages\":[]}";
    assert_eq!(eavs.post(&secrets[0], "/demo/v1/messages", hello).send().await.unwrap().status().as_u16(), 401);
    assert_eq!(eavs.post(&last, "/demo/v1/messages", hello).send().await.unwrap().status().as_u16(), 200);
    assert_eq!(eavs.post(&secrets[19], "/demo/v1/messages", hello).send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn sigterm_lets_an_open_answer_finish_and_takes_no_new_one() {
    let mut provider = Provider::start().await;
    let mut eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("d", json!({})).await;
    let answer = tokio::spawn(eavs.post(&key, "/ant/v1/messages", "{\"model\":\"m\"}").send());
    let mut exchange = provider.next().await;
    exchange.head("200 OK", "content-type: text/event-stream\r\n").await;
    exchange.chunk(b"data: 1\n\n").await;
    let mut answer = answer.await.unwrap().unwrap();
    answer.chunk().await.unwrap();
    let old = eavs.give_way().await;
    assert!(eavs.post(&key, "/demo/v1/messages", "{}").send().await.is_err(), "it goes on taking requests");
    exchange.chunk(b"data: {\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}\n\n").await;
    exchange.end().await;
    let rest = tokio::time::timeout(PATIENCE, answer.text()).await.unwrap().unwrap();
    assert_eq!(rest, "data: {\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}\n\n");
    assert_eq!(old.ended().await.code(), Some(0));
    let sockets =
        |dir: &str| std::fs::read_dir(eavs.path(dir)).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some()).count();
    assert_eq!((sockets("run"), sockets("run/llm")), (0, 0));
    eavs.spawn().await;
    assert_eq!(
        eavs.usage("d").await["total_output_tokens"],
        6,
        "what the drained answer used is kept, also with nobody there to hear of it"
    );
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once() {
    let mut provider = Provider::start().await;
    let mut eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("d", json!({})).await;
    let _answer = tokio::spawn(eavs.post(&key, "/ant/v1/messages", "{}").send());
    let _exchange = provider.next().await;
    let old = eavs.give_way().await;
    old.terminate();
    assert_eq!(old.ended().await.code(), Some(0));
}

#[tokio::test]
async fn whoever_asks_whether_it_ends_is_told_when_the_next_one_can_start() {
    let mut eavs = Instance::start("").await;
    let mut asked = eavs.admin_asked("/admin/end").await;
    eavs.signal(Signal::SIGTERM);
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, asked.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("{\"ending\":true}"), "{answer}");
    assert!(!eavs.path("run/admin.sock").exists() && !eavs.path("run/llm/eavs.sock").exists());
    let old = eavs.give_way().await;
    eavs.spawn().await;
    assert_eq!(old.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_stands_in_the_way_is_refused_with_a_sentence() {
    let mut eavs = Instance::start("").await;
    let dir = eavs.dir.path().to_owned();
    let mut other = Instance::command(&dir);
    other.arg("--listen").arg("127.0.0.1:0");
    assert!(refused(&run(other).await).contains("in use by another octo-eavs (pid "));
    // Another store, the same socket: the living one is left alone.
    let mut other = std::process::Command::new(env!("CARGO_BIN_EXE_octo-eavs"));
    other.arg("serve").arg("--config").arg(dir.join("config.toml")).arg("--data-dir").arg(dir.join("data2"));
    other.arg("--llm-socket").arg(dir.join("run/llm/eavs.sock")).arg("--admin-socket").arg(dir.join("run/admin.sock"));
    let said = refused(&run(other).await);
    assert!(said.contains("already answers on"), "{said}");
    assert_eq!(eavs.health().await["status"], "ok");
    let mode = |name: &str| std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("run/llm"), mode("data")), (0o700, 0o700, 0o700));
    assert_eq!((mode("run/admin.sock"), mode("run/llm/eavs.sock"), mode("log/eavs.log")), (0o600, 0o600, 0o600));

    eavs.signal(Signal::SIGKILL);
    eavs.wait().await;
    assert!(dir.join("run/admin.sock").exists(), "kill -9 leaves the socket file");
    eavs.spawn().await;
    assert_eq!(eavs.health().await["protocol"], 1);
    eavs.signal(Signal::SIGTERM);
    eavs.wait().await;

    std::fs::write(dir.join("run/admin.sock"), "precious").unwrap();
    let said = refused(&run(Instance::command(&dir)).await);
    assert!(said.contains("is not a socket"), "{said}");
    assert_eq!(std::fs::read_to_string(dir.join("run/admin.sock")).unwrap(), "precious");
    std::fs::remove_file(dir.join("run/admin.sock")).unwrap();
    std::fs::set_permissions(dir.join("run/llm"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = refused(&run(Instance::command(&dir)).await);
    assert!(said.contains("mode 755") && said.contains("chmod 700"), "{said}");
    std::fs::set_permissions(dir.join("run/llm"), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(dir.join("config.toml"), "[providers.x]\napi = 1").unwrap();
    let said = refused(&run(Instance::command(&dir)).await);
    assert!(said.contains("config.toml") && said.contains("line 2"), "{said}");
}

#[tokio::test]
async fn a_reload_takes_new_providers_and_environment_and_a_wrong_one_changes_nothing() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start("").await;
    let key = eavs.key("r", json!({})).await;
    assert_eq!(eavs.post(&key, "/late/v1/messages", "{}").send().await.unwrap().status().as_u16(), 404);
    let text = format!("[providers.late]\napi='openai-completions'\nbase_url='{}/v1'\napi_key='env:LATE_KEY'\n", provider.url);
    std::fs::write(eavs.path("config.toml"), &text).unwrap();
    let (status, providers) = eavs.admin("POST", "/admin/reload", Value::Null).await;
    assert_eq!((status, &providers[1]["has_api_key"], &providers[1]["missing_env"]), (200, &json!(false), &json!("LATE_KEY")));
    let (_, providers) = eavs.admin("POST", "/admin/reload", json!({"env": {"LATE_KEY": "sk-late"}})).await;
    assert_eq!(providers[1]["has_api_key"], true);
    let answer = tokio::spawn(eavs.post(&key, "/late/v1/chat/completions", "{}").send());
    let exchange = provider.next().await;
    assert!(exchange.head.starts_with("post /v1/chat/completions ") && exchange.head.contains("authorization: bearer sk-late"));
    exchange.answer("200 OK", "application/json", "{}").await;
    answer.await.unwrap().unwrap();

    std::fs::write(eavs.path("config.toml"), format!("{text}[providers.demo]\napi='openai-completions'\nbase_url='http://h'\n")).unwrap();
    let (status, error) = eavs.admin("POST", "/admin/reload", Value::Null).await;
    assert_eq!((status, &error["code"]), (400, &json!("invalid_config")));
    assert!(error["error"].as_str().unwrap().contains("[providers.demo]"));
    let providers = eavs.admin("GET", "/admin/providers", Value::Null).await.1;
    assert_eq!((&providers[1]["name"], &providers[1]["has_api_key"]), (&json!("late"), &json!(true)));
}

#[tokio::test]
async fn a_listener_is_bound_again_and_an_open_answer_goes_on() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("x", json!({})).await;
    let answer = tokio::spawn(eavs.post(&key, "/ant/v1/messages", "{}").send());
    let mut exchange = provider.next().await;
    exchange.head("200 OK", "content-type: text/event-stream\r\n").await;
    let answer = answer.await.unwrap().unwrap();
    for path in ["/llm", "/admin"] {
        assert_eq!(eavs.admin("POST", "/admin/actors/restart", json!({"path": path})).await.0, 204);
    }
    let rows = tokio::time::timeout(PATIENCE, async {
        loop {
            // The admin listener itself may be between two incarnations.
            let rows = match eavs.try_admin("/admin/actors").await {
                Some(rows) => rows,
                None => continue,
            };
            if rows.as_array().unwrap().iter().all(|r| r["row"]["state"] == "running") {
                return rows;
            }
            tokio::task::yield_now().await;
        }
    });
    let rows = rows.await.unwrap();
    let restarts = |path: &str| rows.as_array().unwrap().iter().find(|r| r["row"]["path"] == path).unwrap()["row"]["restarts"].clone();
    assert_eq!((restarts("/llm"), restarts("/admin")), (json!(1), json!(1)), "{rows}");
    let fresh = eavs.post(&key, "/demo/v1/messages", "{\"messages\":[]}").send().await.unwrap();
    assert_eq!(fresh.status().as_u16(), 200);
    exchange.chunk(b"data: still here\n\n").await;
    exchange.end().await;
    assert_eq!(answer.text().await.unwrap(), "data: still here\n\n");
    assert_eq!(eavs.admin("POST", "/admin/actors/restart", json!({"path": "/nobody"})).await.0, 404);
}
