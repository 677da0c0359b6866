//! A translator alone: from the agent's bytes to canonical events, in memory. What an event costs, and whether it costs more the longer its message is.

use super::Scale;
use crate::figure::{Figures, Goal};
use anyhow::{Result, ensure};
use octo_harness::claude::Claude;
use octo_harness::pi::Pi;
use octo_harness::{Harness, Outbox, Output, StartOptions};
use octo_protocol::Event;
use serde_json::{Value, json};
use std::time::Instant;

/// Bytes of a read from a pipe.
const READ: usize = 64 * 1024;

/// An agent's way to write a message.
struct Dialect {
    agent: &'static str,
    translator: fn() -> Box<dyn Harness>,
    /// What comes before the deltas.
    head: fn() -> Vec<Value>,
    /// A delta, about as long as a token is.
    delta: fn(usize) -> Value,
}

const DIALECTS: [Dialect; 2] = [
    // Since 0.84.
    Dialect {
        agent: "pi",
        translator: || Box::new(Pi::new(StartOptions::default())),
        head: || vec![json!({"type": "message_start", "message": {"role": "assistant", "content": []}})],
        delta: |n| {
            let event = json!({"type": "text_delta", "contentIndex": 0, "delta": format!("token {n} ")});
            json!({"type": "message_update", "assistantMessageEvent": event, "usage": {"input": 1, "output": n, "cacheRead": 0, "cacheWrite": 0}})
        },
    },
    Dialect {
        agent: "Claude Code",
        translator: || Box::new(Claude::new(StartOptions::default())),
        head: || {
            let usage = json!({"input_tokens": 1, "output_tokens": 1});
            let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage});
            let begun = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
            vec![streamed(json!({"type": "message_start", "message": message})), streamed(begun)]
        },
        delta: |n| {
            let delta = json!({"type": "text_delta", "text": format!("token {n} ")});
            streamed(json!({"type": "content_block_delta", "index": 0, "delta": delta}))
        },
    },
];

/// A line of Claude Code's with an event of its provider.
fn streamed(event: Value) -> Value {
    let id = "00000000-0000-4000-8000-000000000000";
    json!({"type": "stream_event", "event": event, "session_id": id, "parent_tool_use_id": null, "uuid": id})
}

fn lines(values: impl IntoIterator<Item = Value>) -> String {
    values.into_iter().map(|value| format!("{value}\n")).collect()
}

/// Microseconds an event of a message of `deltas` deltas.
fn message(dialect: &Dialect, deltas: usize) -> Result<f64> {
    let mut agent = (dialect.translator)();
    let mut out = Outbox::new();
    agent.start(1, &mut out);
    agent.stdout(lines((dialect.head)()).as_bytes(), 2, &mut out);
    out.drain();
    let bytes = lines((0..deltas).map(dialect.delta));
    let (began, mut events) = (Instant::now(), 0);
    for read in bytes.as_bytes().chunks(READ) {
        agent.stdout(read, 3, &mut out);
        events += out.drain().filter(|output| matches!(output, Output::Event(Event::TextDelta { .. }))).count();
    }
    let took = began.elapsed();
    ensure!(events == deltas, "{}: {events} of {deltas} deltas came through", dialect.agent);
    Ok(took.as_secs_f64() * 1e6 / deltas as f64)
}

pub fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    let (short, long) = scale.pick((1_000, 100_000), (100, 1_000));
    for dialect in &DIALECTS {
        let agent = dialect.agent;
        for _ in 0..scale.rounds {
            let mut of_short: Vec<f64> = (0..scale.pick(20, 2)).map(|_| message(dialect, short)).collect::<Result<_>>()?;
            of_short.sort_by(f64::total_cmp);
            let (of_short, of_long) = (of_short[of_short.len() / 2], message(dialect, long)?);
            figures.add("translate", &format!("{agent}: an event of a message of {short}"), "µs", Goal::AtMost(20.0), of_short, None);
            let floor = Some(("of the short one", of_short));
            figures.add("translate", &format!("{agent}: an event of a message of {long}"), "µs", Goal::RatioAtMost(1.5), of_long, floor);
        }
    }
    Ok(())
}
