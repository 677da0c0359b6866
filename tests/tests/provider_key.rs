//! A real provider's key arrives at the provider and is nowhere else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Client, Instance, Options, descendants};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KEY: &str = "sk-canary-3f9a1c77d2e84b60";

/// A provider on loopback that speaks OpenAI chat completions; it records the head of each request.
async fn provider() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut buffer = [0; 16 * 1024];
                loop {
                    let read = socket.read(&mut buffer).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    request.extend_from_slice(&buffer[..read]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some(end) = text.find("\r\n\r\n") else { continue };
                    let length: usize = text[..end]
                        .lines()
                        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
                        .unwrap_or(0);
                    let chunked_end =
                        text[..end].to_ascii_lowercase().contains("transfer-encoding: chunked") && text.ends_with("0\r\n\r\n");
                    if chunked_end || (length > 0 && request.len() >= end + 4 + length) {
                        seen.lock().unwrap().push(text[..end].to_owned());
                        break;
                    }
                }
                let chunk = |delta: serde_json::Value, finish: Option<&str>| {
                    format!(
                        "data: {}\n\n",
                        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
                    )
                };
                let body = chunk(json!({"role": "assistant", "content": "Answered by the provider."}), None)
                    + &chunk(json!({}), Some("stop"))
                    + "data: [DONE]\n\n";
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = socket.write_all((head + &body).as_bytes()).await;
            });
        }
    });
    (port, heads)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_key_reaches_its_provider_and_never_the_agent_its_files_command_lines_or_a_log() {
    let (port, heads) = provider().await;
    let config = format!(
        "[providers.corp]\napi = \"openai-completions\"\nbase_url = \"http://127.0.0.1:{port}/v1\"\napi_key = \"env:CORP_KEY\"\nmodels = [{{ id = \"m1\" }}]\n\n[logging]\nlevel = \"trace\"\n"
    );
    let mut instance = Instance::new(Options { config, env: vec![("CORP_KEY".to_owned(), KEY.to_owned())], ..Options::default() });
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    let config = json!({"harness": "pi", "cwd": instance.workspace(), "provider": "corp", "model": "m1"});
    client.command("ses_1", json!({"cmd": "session.create", "config": config})).await;
    client.command("ses_1", json!({"cmd": "prompt", "message": "Who answers?"})).await;
    client.idle("ses_1").await;
    let history = client.history("ses_1").await;
    assert_eq!(history[1]["parts"][0]["text"], "Answered by the provider.", "{history:?}");
    let heads = heads.lock().unwrap().clone();
    assert!(heads.iter().any(|head| head.contains(&format!("Bearer {KEY}"))), "the provider got its key: {heads:?}");

    // The pattern does not match its own text, which stands in the agent's files and command lines.
    // The agent looks for itself: environment of everything it can see, and every file it can read in its home.
    let prompt = octo_e2e::demo_prompt(
        "Look.",
        &[octo_e2e::Turn::text("Looking.").bash("(env; cat /proc/*/environ /proc/*/cmdline; grep -rIhs 'sk-[c]anary' $HOME /tmp /run /etc) 2>/dev/null | tr '\\0' '\\n' | grep -c '[c]anary-3f9a'; echo looked")],
    );
    client.command("ses_2", json!({"cmd": "session.create", "config": {"harness": "pi", "cwd": instance.workspace(), "provider": "demo", "model": "scripted"}})).await;
    client.command("ses_2", json!({"cmd": "prompt", "message": prompt})).await;
    client.idle("ses_2").await;
    let found = client.history("ses_2").await;
    let tool = found.iter().find(|m| m["role"] == "tool").expect("the tool ran");
    let output = tool["parts"][0]["output"].to_string();
    assert!(output.contains("looked") && output.contains("0\\nlooked"), "the agent finds the key: {output}");

    // And from outside: the agent's whole tree, every file of the instance, every command line and log.
    let runner = instance.runner();
    for process in descendants(runner.pid).into_iter().chain([runner]) {
        assert!(!process.environment().contains(KEY), "{process:?} has the key in its environment");
    }
    for process in octo_e2e::processes() {
        assert!(!process.command_line().contains(KEY), "{process:?} has the key in its command line");
    }
    assert_eq!(instance.files_with(KEY), Vec::<std::path::PathBuf>::new(), "no file of the instance, and so no log, holds the key");
}
