//! A run: the messages, tools and floods of a script, and the queue between them.

use super::Agent;
use octo_e2e::{MESSAGE_BYTES, Script, monotonic_ns};
use serde_json::{Value, json};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// What pi says of usage in every line of a stream; the size of a line is part of what it costs.
const USAGE: &str = r#"{"input":1379,"output":11,"cacheRead":0,"cacheWrite":0,"totalTokens":1390,"cost":{"input":0.001379,"output":0.000022,"cacheRead":0,"cacheWrite":0,"total":0.001401}}"#;
/// What no agent should write, one of them after the other.
const GARBAGE: [&[u8]; 9] = [
    b"Warning: something is deprecated",
    b"null",
    b"[1,2,3]",
    b"{\"type\":\"no_such_event\",\"x\":1}",
    b"{\"type\":\"message_update\"}",
    b"{\"type\":\"message_update\",\"assistantMessageEvent\":{\"type\":\"text_delta\",\"delta\":",
    b"\xff\xfe\x00\x80",
    b"{\"type\":\"response\",\"id\":\"octo-999999999\",\"command\":\"prompt\",\"success\":true}",
    b"{}{}",
];

/// How a message ended.
enum End {
    Stop,
    Aborted,
    Error(String),
}

impl Agent {
    pub fn run(&mut self, prompt: String) {
        self.running = true;
        self.out.event("agent_start", json!({}));
        let mut turn = Some((Some(prompt), None));
        while let Some((input, closing)) = turn.take() {
            self.out.event("turn_start", json!({}));
            let script = input.as_deref().and_then(Script::find).or(closing).unwrap_or_default();
            if let Some(text) = &input {
                let message = json!({"role": "user", "content": [{"type": "text", "text": text}], "timestamp": now_ms()});
                self.message("user", &message);
            }
            let tools = script.tools > 0;
            let end = self.say(&script);
            self.out.event("turn_end", json!({"message": {"role": "assistant"}, "toolResults": []}));
            if !matches!(end, End::Stop) {
                break;
            }
            let steered = self.queued(true);
            turn = match (steered, tools) {
                (None, true) => Some((None, Some(Script::default()))),
                (None, false) => self.queued(false).map(|input| (Some(input), None)),
                (input, _) => Some((input, None)),
            };
        }
        self.out.event("agent_end", json!({"messages": [], "willRetry": false}));
        self.out.event("agent_settled", json!({}));
        self.running = false;
        for id in std::mem::take(&mut self.aborts) {
            self.answer(&id, "abort", Ok(Value::Null));
        }
        // What was queued when the run was aborted begins another one, as pi does.
        self.next = self.next.take().or_else(|| self.queued(true)).or_else(|| self.queued(false));
    }

    fn queued(&mut self, steering: bool) -> Option<String> {
        let next = if steering { self.steering.pop_front() } else { self.follow_up.pop_front() };
        if next.is_some() {
            self.show_queue();
        }
        next
    }

    fn message(&mut self, role: &'static str, message: &Value) {
        self.out.event("message_start", json!({"message": message}));
        self.out.event("message_end", json!({"message": message}));
        self.conversation.add(role);
    }

    fn say(&mut self, script: &Script) -> End {
        if script.raw_bytes > 0 {
            self.out.flood(script.raw_bytes, script.newline_every);
        }
        if script.stderr_bytes > 0 {
            let _ = std::io::copy(&mut std::io::Read::take(std::io::repeat(b'e'), script.stderr_bytes), &mut std::io::stderr());
        }
        self.begin_message();
        self.think(script.thinking);
        let (mut said, mut from) = (String::new(), 0);
        let began = Instant::now();
        let garbage_every = script.deltas.checked_div(u64::from(script.garbage)).map_or(u64::MAX, |every| every.max(1));
        let mut garbage = 0;
        for index in 0..script.deltas {
            if self.wait_for_its_time(script, began, index) {
                return self.end_message(script, &said, End::Aborted);
            }
            if said.len() + script.size > MESSAGE_BYTES {
                self.end_message(script, &said, End::Stop);
                self.begin_message();
                said.clear();
                from = 0;
            }
            script.write_delta(index, if script.stamp { monotonic_ns() } else { 0 }, &mut said);
            self.delta("text_delta", &said[from..]);
            from = said.len();
            if garbage < script.garbage && (index + 1) % garbage_every == 0 {
                self.out.buffer.extend_from_slice(GARBAGE[garbage as usize % GARBAGE.len()]);
                self.out.buffer.push(b'\n');
                garbage += 1;
            }
        }
        if let Some(code) = script.exit {
            self.out.flush();
            eprintln!("Error: the script ends the agent with code {code}");
            std::process::exit(code);
        }
        while script.hang && !self.attend(script, Some(Instant::now() + Duration::from_secs(3600))) {}
        if self.attend(script, None) {
            return self.end_message(script, &said, End::Aborted);
        }
        if let Some(error) = &script.error {
            return self.end_message(script, &said, End::Error(error.clone()));
        }
        self.end_message(script, &said, End::Stop);
        (0..script.tools).for_each(|number| self.tool(number));
        End::Stop
    }

    fn begin_message(&mut self) {
        let usage: Value = serde_json::from_str(USAGE).expect("it is JSON");
        let message = json!({"role": "assistant", "content": [], "api": "scripted", "provider": self.conversation.provider,
            "model": self.conversation.model, "usage": usage, "stopReason": "stop", "timestamp": now_ms()});
        self.out.event("message_start", json!({"message": message}));
    }

    fn end_message(&mut self, script: &Script, text: &str, end: End) -> End {
        let (reason, error) = match &end {
            End::Stop if script.tools > 0 => ("toolUse", None),
            End::Stop => ("stop", None),
            End::Aborted => ("aborted", Some("Request was aborted")),
            End::Error(error) => ("error", Some(error.as_str())),
        };
        let mut content = vec![json!({"type": "text", "text": text})];
        if reason == "toolUse" {
            let call = |number| json!({"type": "toolCall", "id": call_id(self.conversation.messages(), number), "name": "bash", "arguments": {"command": "true"}});
            content.extend((0..script.tools).map(call));
        }
        let usage: Value = serde_json::from_str(USAGE).expect("it is JSON");
        let mut message = json!({"role": "assistant", "content": content, "api": "scripted", "provider": self.conversation.provider,
            "model": self.conversation.model, "usage": usage, "stopReason": reason, "timestamp": now_ms()});
        if let Some(error) = error {
            message["errorMessage"] = json!(error);
        }
        self.out.event("message_end", json!({"message": message}));
        self.conversation.add("assistant");
        end
    }

    fn think(&mut self, deltas: u64) {
        for index in 0..deltas {
            self.delta("thinking_delta", &format!("thought {index}. "));
        }
    }

    /// The text needs no escapes: scripts say digits and dots.
    fn delta(&mut self, kind: &str, text: &str) {
        let line = &mut self.out.buffer;
        for piece in [
            r#"{"type":"message_update","usage":"#,
            USAGE,
            r#","assistantMessageEvent":{"type":""#,
            kind,
            r#"","contentIndex":0,"delta":""#,
            text,
            "\"}}\n",
        ] {
            line.extend_from_slice(piece.as_bytes());
        }
    }

    /// Writes when the next delta is not due yet, or enough has come together. `true` when the run is aborted.
    fn wait_for_its_time(&mut self, script: &Script, began: Instant, index: u64) -> bool {
        if script.rate_per_s > 0.0 {
            #[allow(clippy::cast_precision_loss, reason = "a rate is no exact thing")]
            let due = began + Duration::from_secs_f64(index as f64 / script.rate_per_s);
            if Instant::now() < due || self.out.is_full() {
                return self.attend(script, Some(due));
            }
        } else if self.out.is_full() {
            return self.attend(script, None);
        }
        false
    }

    /// Writes what is buffered and obeys what comes until the time given, or what waits already. `true` when the run is to be aborted.
    fn attend(&mut self, script: &Script, until: Option<Instant>) -> bool {
        self.out.flush();
        loop {
            if !self.aborts.is_empty() && !script.ignore_abort {
                return true;
            }
            let patience = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
            match self.commands.recv_timeout(patience) {
                Ok(command) => self.obey(&command),
                Err(RecvTimeoutError::Timeout) => return false,
                // The end of the input is the reader's to act on.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_secs(1)),
            }
            self.out.flush();
        }
    }

    fn tool(&mut self, number: u32) {
        let id = call_id(self.conversation.messages() - 1 - u64::from(number), number);
        let output = json!({"content": [{"type": "text", "text": format!("tool {number} is done\n")}], "details": {}});
        let arguments = json!({"command": "true"});
        self.out.event("tool_execution_start", json!({"toolCallId": id, "toolName": "bash", "args": arguments}));
        self.out.event("tool_execution_update", json!({"toolCallId": id, "toolName": "bash", "args": arguments, "partialResult": output}));
        self.out.event("tool_execution_end", json!({"toolCallId": id, "toolName": "bash", "result": output, "isError": false}));
        let message = json!({"role": "toolResult", "toolCallId": id, "toolName": "bash", "content": output["content"], "isError": false, "timestamp": now_ms()});
        self.message("toolResult", &message);
    }
}

/// The same for a call and its result: the number of the message that calls, and of the call in it.
fn call_id(message: u64, number: u32) -> String {
    format!("call_{message}_{number}")
}

fn now_ms() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis())
}
