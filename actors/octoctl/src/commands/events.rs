//! `octoctl events`

use std::time::Duration;

use octo_protocol::admin::{EventPath, PathLine};
use serde_json::Value;
use tokio::time::Instant;

use super::Asking;
use super::session::resolve;
use crate::arguments::{Events, SessionName};
use crate::exit::{Exit, Failure};
use crate::show;

/// Characters of an event's members that are shown.
const EVENT_CHARS: usize = 120;
/// Members that have a place of their own in a line, or are the same in all of them.
const ENVELOPE: [&str; 7] = ["channel", "session_id", "runner_id", "ts", "seq", "epoch", "event"];

pub async fn run(asking: &Asking, command: Events) -> Result<(), Failure> {
    let (name, from, once) = match command {
        Events::Tail { name, from, once } => (name, from, once),
        Events::Path { name, limit, seconds } => return paths(asking, name, limit, seconds).await,
    };
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

async fn paths(asking: &Asking, name: SessionName, limit: Option<u64>, seconds: Option<u64>) -> Result<(), Failure> {
    let name = resolve(asking, name).await?;
    let Asking { client, output } = asking;
    let mut lines = client.lines(&format!("/sessions/{}/path", name.path())).await?;
    // Longer than anybody waits.
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(10 * 365 * 24 * 3600));
    let (mut seen, mut dropped) = (0u64, 0u64);
    while limit.is_none_or(|limit| seen < limit) {
        let Ok(line) = tokio::time::timeout_at(until, lines.next::<PathLine>()).await else { break };
        let Some(line) = line? else {
            return Err(Failure::new(Exit::Down, "the paths end here: octo is stopping, or it has lost its runner; begin again"));
        };
        let reads = match &line {
            PathLine::Quiet => true,
            PathLine::Begun { one_clock, .. } => {
                if !one_clock {
                    output.note("the runner is on another machine and reads another clock: what lies between it and octo is not shown");
                }
                output.say(&head(), &line)
            }
            PathLine::Event(path) => {
                seen += 1;
                output.say(&hops(path), &line)
            }
            PathLine::Dropped(all) => {
                dropped = *all;
                output.say(&format!("{all} hops were lost so far: they come faster than they are read"), &line)
            }
        };
        if !reads {
            return Ok(());
        }
    }
    output.note(&format!("{}, {} lost", show::plural(seen, "event"), show::plural(dropped, "hop")));
    Ok(())
}

fn columns(seq: &str, event: &str, hops: [&str; 8], sockets: &str) -> String {
    let hops: Vec<String> = hops.iter().map(|hop| format!("{hop:>11}")).collect();
    format!("{seq:>7}  {event:<22}{}  {sockets:>7}", hops.concat())
}

fn head() -> String {
    let hops = ["TRANSLATED", "COMMITTED", "SENT", "RECEIVED", "QUEUED", "TAKEN", "WRITTEN", "TOTAL"];
    columns("SEQ", "EVENT", hops, "SOCKETS")
}

fn hops(path: &EventPath) -> String {
    let time = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), show::micros);
    let slowest = path.sockets.iter().max_by_key(|socket| socket.taken_us + socket.written_us);
    let (taken, written) = (slowest.map(|socket| socket.taken_us), slowest.map(|socket| socket.written_us));
    let all = [path.translated_us, path.committed_us, path.sent_us, path.received_us, Some(path.queued_us), taken, written, path.total_us];
    let all = all.map(time);
    let sockets = path.sockets.len() as u64 + path.more_sockets;
    let event = show::short(&path.event, 22);
    columns(&path.seq.to_string(), &event, std::array::from_fn(|hop| all[hop].as_str()), &sockets.to_string())
}
