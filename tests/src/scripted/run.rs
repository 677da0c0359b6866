//! A run: the messages, tools and floods of a script, and the queue between them.

use super::{Agent, Exit, Heard, Stage};
use crate::{MESSAGE_BYTES, Script, monotonic_ns};
use serde_json::{Value, json};
use std::time::Duration;

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

impl<S: Stage> Agent<S> {
    pub async fn run(&mut self, prompt: String) -> Result<(), Exit> {
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
            let end = self.say(&script).await?;
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
        self.flush_when_full().await
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

    async fn say(&mut self, script: &Script) -> Result<End, Exit> {
        if script.raw_bytes > 0 {
            self.flood(script.raw_bytes, script.newline_every).await?;
        }
        if script.stderr_bytes > 0 {
            self.stage.complain(&mut std::io::Read::take(std::io::repeat(b'e'), script.stderr_bytes));
        }
        for _ in 0..script.runaways {
            self.stage.run_away();
        }
        // Written to, so that it is there.
        self.held.extend((0..script.hold_mib).map(|_| vec![1u8; 1 << 20]));
        self.begin_message();
        self.think(script.thinking);
        let (mut said, mut from) = (String::new(), 0);
        let began = self.stage.now();
        let garbage_every = script.deltas.checked_div(u64::from(script.garbage)).map_or(u64::MAX, |every| every.max(1));
        let mut garbage = 0;
        for index in 0..script.deltas {
            if self.wait_for_its_time(script, began, index).await? {
                return Ok(self.end_message(script, &said, End::Aborted));
            }
            if said.len() + script.size > MESSAGE_BYTES {
                self.end_message(script, &said, End::Stop);
                self.begin_message();
                said.clear();
                from = 0;
            }
            script.write_delta(index, if script.stamp { monotonic_ns() } else { 0 }, &mut said);
            self.delta("text_delta", u8::from(!self.thought.is_empty()), &said[from..]);
            from = said.len();
            if garbage < script.garbage && (index + 1) % garbage_every == 0 {
                self.out.buffer.extend_from_slice(GARBAGE[garbage as usize % GARBAGE.len()]);
                self.out.buffer.push(b'\n');
                garbage += 1;
            }
        }
        if let Some(code) = script.exit {
            self.flush().await?;
            self.stage.complain(&mut format!("Error: the script ends the agent with code {code}\n").as_bytes());
            return Err(Exit(code));
        }
        if self.ask(script).await? {
            return Ok(self.end_message(script, &said, End::Aborted));
        }
        while script.hang && !self.attend(script, Some(self.stage.now() + Duration::from_secs(3600))).await? {}
        if self.attend(script, None).await? {
            return Ok(self.end_message(script, &said, End::Aborted));
        }
        if let Some(error) = &script.error {
            return Ok(self.end_message(script, &said, End::Error(error.clone())));
        }
        self.end_message(script, &said, End::Stop);
        for number in 0..script.tools {
            self.tool(script, number).await?;
        }
        Ok(End::Stop)
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
        let thought = std::mem::take(&mut self.thought);
        let mut content: Vec<Value> = (!thought.is_empty()).then(|| json!({"type": "thinking", "thinking": thought})).into_iter().collect();
        content.push(json!({"type": "text", "text": text}));
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
            let thought = format!("thought {index}. ");
            self.delta("thinking_delta", 0, &thought);
            self.thought.push_str(&thought);
        }
    }

    /// The text needs no escapes: scripts say digits and dots.
    fn delta(&mut self, kind: &str, index: u8, text: &str) {
        let index = if index == 0 { "0" } else { "1" };
        let line = &mut self.out.buffer;
        for piece in [
            r#"{"type":"message_update","usage":"#,
            USAGE,
            r#","assistantMessageEvent":{"type":""#,
            kind,
            r#"","contentIndex":"#,
            index,
            r#","delta":""#,
            text,
            "\"}}\n",
        ] {
            line.extend_from_slice(piece.as_bytes());
        }
    }

    /// Writes when the next delta is not due yet, or enough has come together. `true` when the run is aborted.
    async fn wait_for_its_time(&mut self, script: &Script, began: Duration, index: u64) -> Result<bool, Exit> {
        if script.rate_per_s > 0.0 {
            #[allow(clippy::cast_precision_loss, reason = "a rate is no exact thing")]
            let due = began + Duration::from_secs_f64(index as f64 / script.rate_per_s);
            if self.stage.now() < due || self.out.is_full() {
                return self.attend(script, Some(due)).await;
            }
        } else if self.out.is_full() {
            return self.attend(script, None).await;
        }
        Ok(false)
    }

    /// Asks whoever is there, and waits for the answers. `true` when the run is to be aborted.
    async fn ask(&mut self, script: &Script) -> Result<bool, Exit> {
        for number in 0..script.questions {
            let id = format!("question_{}_{number}", self.conversation.messages());
            self.out.event("extension_ui_request", json!({"id": id, "method": "confirm", "title": "May it go on?", "message": "It asks."}));
            self.questions.insert(id);
        }
        while !self.questions.is_empty() {
            if self.attend(script, Some(self.stage.now() + Duration::from_secs(1))).await? {
                self.questions.clear();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes what is buffered and obeys what comes until the time given, or what waits already. `true` when the run is to be aborted.
    async fn attend(&mut self, script: &Script, until: Option<Duration>) -> Result<bool, Exit> {
        self.flush().await?;
        loop {
            if !self.aborts.is_empty() && !script.ignore_abort {
                return Ok(true);
            }
            let asked = !self.questions.is_empty();
            match self.stage.hear(Some(until.unwrap_or_default())).await {
                Heard::Command(command) => self.obey(&command),
                Heard::Nothing => return Ok(false),
                Heard::End => return Err(Exit(0)),
            }
            self.flush().await?;
            if asked && self.questions.is_empty() {
                return Ok(!self.aborts.is_empty() && !script.ignore_abort);
            }
        }
    }

    /// Bytes without a meaning, with a newline after each `line` of them, and one at the end.
    async fn flood(&mut self, bytes: u64, line: Option<u64>) -> Result<(), Exit> {
        self.flush().await?;
        let line = line.unwrap_or(u64::MAX).max(1);
        let mut left = bytes;
        while left > 0 {
            let mut of_line = left.min(line);
            left -= of_line;
            // Of one line, however long, only a piece is in memory.
            while of_line > 0 {
                let piece = usize::try_from(of_line).unwrap_or(usize::MAX).min(8 * 1024);
                self.out.buffer.resize(self.out.buffer.len() + piece, b'x');
                of_line -= piece as u64;
                self.flush_when_full().await?;
            }
            self.out.buffer.push(b'\n');
        }
        self.flush().await
    }

    async fn tool(&mut self, script: &Script, number: u32) -> Result<(), Exit> {
        let id = call_id(self.conversation.messages() - 1 - u64::from(number), number);
        let output = json!({"content": [{"type": "text", "text": format!("tool {number} is done\n")}], "details": {}});
        let arguments = json!({"command": "true"});
        self.out.event("tool_execution_start", json!({"toolCallId": id, "toolName": "bash", "args": arguments}));
        self.out.event("tool_execution_update", json!({"toolCallId": id, "toolName": "bash", "args": arguments, "partialResult": output}));
        for update in 0..script.tool_updates {
            let mut text = format!("{update} ");
            text.extend(std::iter::repeat_n('.', script.tool_update_bytes.saturating_sub(text.len())));
            let partial = json!({"content": [{"type": "text", "text": text}], "details": {}});
            self.out
                .event("tool_execution_update", json!({"toolCallId": id, "toolName": "bash", "args": arguments, "partialResult": partial}));
            self.flush_when_full().await?;
        }
        self.out.event("tool_execution_end", json!({"toolCallId": id, "toolName": "bash", "result": output, "isError": false}));
        let message = json!({"role": "toolResult", "toolCallId": id, "toolName": "bash", "content": output["content"], "isError": false, "timestamp": now_ms()});
        self.message("toolResult", &message);
        self.flush_when_full().await
    }
}

/// The same for a call and its result: the number of the message that calls, and of the call in it.
fn call_id(message: u64, number: u32) -> String {
    format!("call_{message}_{number}")
}

fn now_ms() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis())
}
