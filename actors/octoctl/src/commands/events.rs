//! `octoctl events`

use serde_json::Value;

use super::Asking;
use super::session::resolve;
use crate::arguments::Events;
use crate::exit::Failure;
use crate::show;

/// Characters of an event's members that are shown.
const EVENT_CHARS: usize = 120;
/// Members that have a place of their own in a line, or are the same in all of them.
const ENVELOPE: [&str; 7] = ["channel", "session_id", "runner_id", "ts", "seq", "epoch", "event"];

pub async fn run(asking: &Asking, command: Events) -> Result<(), Failure> {
    let Events::Tail { name, from, once } = command;
    let name = resolve(asking, name).await?;
    let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
    let mut lines = asking.client.lines(&format!("/sessions/{}/events?follow={}{from}", name.path(), !once)).await?;
    while let Some(event) = lines.next::<Value>().await? {
        if !asking.output.say(&line(&event), &event) {
            break;
        }
    }
    Ok(())
}

fn line(event: &Value) -> String {
    let seq = event["seq"].as_u64().filter(|seq| *seq > 0).map_or_else(|| "–".to_owned(), |seq| seq.to_string());
    let members: serde_json::Map<String, Value> = event
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !ENVELOPE.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    let members = if members.is_empty() { String::new() } else { show::short(&Value::Object(members).to_string(), EVENT_CHARS) };
    let (when, name) = (show::at(event["ts"].as_i64().unwrap_or_default()), event["event"].as_str().unwrap_or("?"));
    format!("{seq:>7}  {when}  {name:<22}  {members}").trim_end().to_owned()
}
