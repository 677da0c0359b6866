//! A translator alone: from the agent's bytes to canonical events, in memory. What an event costs, and whether it costs more the longer its message is.

use super::Scale;
use crate::figure::{Figures, Goal};
use anyhow::{Result, ensure};
use octo_harness::pi::Pi;
use octo_harness::{Harness, Outbox, Output, StartOptions};
use octo_protocol::Event;
use serde_json::json;
use std::time::Instant;

/// Bytes of a read from a pipe.
const READ: usize = 64 * 1024;

/// A delta as pi writes it since 0.84, about as long as a token is.
fn delta(n: usize) -> String {
    let event = json!({"type": "text_delta", "contentIndex": 0, "delta": format!("token {n} ")});
    json!({"type": "message_update", "assistantMessageEvent": event, "usage": {"input": 1, "output": n, "cacheRead": 0, "cacheWrite": 0}})
        .to_string()
}

/// Microseconds an event of a message of `deltas` deltas.
fn message(deltas: usize) -> Result<f64> {
    let mut pi = Pi::new(StartOptions::default());
    let mut out = Outbox::new();
    pi.start(1, &mut out);
    let mut head = json!({"type": "message_start", "message": {"role": "assistant", "content": []}}).to_string();
    head.push('\n');
    pi.stdout(head.as_bytes(), 2, &mut out);
    out.drain();
    let mut bytes = String::new();
    for n in 0..deltas {
        bytes.push_str(&delta(n));
        bytes.push('\n');
    }
    let (began, mut events) = (Instant::now(), 0);
    for read in bytes.as_bytes().chunks(READ) {
        pi.stdout(read, 3, &mut out);
        events += out.drain().filter(|output| matches!(output, Output::Event(Event::TextDelta { .. }))).count();
    }
    let took = began.elapsed();
    ensure!(events == deltas, "{events} of {deltas} deltas came through");
    Ok(took.as_secs_f64() * 1e6 / deltas as f64)
}

pub fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    let (short, long) = scale.pick((1_000, 100_000), (100, 1_000));
    for _ in 0..scale.rounds {
        let mut of_short: Vec<f64> = (0..scale.pick(20, 2)).map(|_| message(short)).collect::<Result<_>>()?;
        of_short.sort_by(f64::total_cmp);
        let (of_short, of_long) = (of_short[of_short.len() / 2], message(long)?);
        figures.add("translate", &format!("pi: an event of a message of {short}"), "µs", Goal::AtMost(20.0), of_short, None);
        let floor = Some(("of the short one", of_short));
        figures.add("translate", &format!("pi: an event of a message of {long}"), "µs", Goal::RatioAtMost(1.5), of_long, floor);
    }
    Ok(())
}
