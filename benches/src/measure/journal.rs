//! The journal by itself: commits in batches, durable commits, replay.

use super::Scale;
use crate::figure::{Figures, Goal, quantile};
use anyhow::Result;
use octo_protocol::{Event, Message};
use octo_runner::journal::{Batch, Entry, Journal, NewSession, SessionKey, SessionLog};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// Deltas of one commit: what an agent writes while the one before is written.
const BATCH: usize = 256;

async fn session(journal: &Journal, id: &str) -> Result<(SessionKey, Arc<SessionLog>)> {
    let epoch: octo_protocol::Epoch = "e1".parse()?;
    let new = NewSession {
        id: id.to_owned(),
        epoch: epoch.clone(),
        harness: "pi".to_owned(),
        cwd: "/srv".to_owned(),
        provider: "demo".to_owned(),
        model: "scripted".to_owned(),
        config: octo_protocol::SessionConfig::default(),
        provision: "{}".to_owned(),
        readable_id: id.to_owned(),
        parent: None,
        created_at: 1,
    };
    let key = journal.create(new).await?;
    Ok((key, Arc::new(SessionLog::new(epoch, key.life, 0))))
}

fn delta(number: usize) -> Result<Entry> {
    let event = Event::TextDelta { message_id: "m1".to_owned(), delta: format!("{number} .............."), content_index: 0 };
    Ok(Entry::new(event, Some("turn_1".to_owned()))?)
}

fn message(idx: u64) -> Result<Entry> {
    let text = "a sentence of the model that ends its message. ".repeat(5);
    let json = serde_json::json!({"id": format!("m{idx}"), "idx": idx, "role": "assistant", "created_at": 1,
        "parts": [{"type": "text", "id": "p", "text": text}]});
    Ok(Entry::new(Event::MessageEnd { message: serde_json::from_value::<Message>(json)? }, Some("turn_1".to_owned()))?)
}

/// Events a second in commits of [`BATCH`], one after the other as one session makes them.
async fn commits(journal: &Journal, key: SessionKey, log: &Arc<SessionLog>, events: usize) -> Result<f64> {
    let mut batches = Vec::new();
    for first in (0..events).step_by(BATCH) {
        let entries = (first..events.min(first + BATCH)).map(delta).collect::<Result<Vec<_>>>()?;
        batches.push(Batch { key, first_seq: first as u64 + 1, entries, changes: Vec::new(), log: Arc::clone(log) });
    }
    let began = Instant::now();
    for batch in batches {
        journal.commit(batch).await?;
    }
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

/// Microseconds of a commit that has to survive the power, p50.
async fn durable(journal: &Journal, messages: u64) -> Result<f64> {
    let (key, log) = session(journal, "durable").await?;
    let mut times = Vec::new();
    for idx in 0..messages {
        let batch = Batch { key, first_seq: idx + 1, entries: vec![message(idx)?], changes: Vec::new(), log: Arc::clone(&log) };
        let began = Instant::now();
        journal.commit(batch).await?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(quantile(&mut times, 0.5))
}

/// Events a second of a replay, page by page.
async fn replay(journal: &Journal, key: SessionKey, events: usize) -> Result<f64> {
    let began = Instant::now();
    let mut at = 0;
    loop {
        let page = journal.page(key.life, at, None).await?;
        let Some(last) = page.rows.last() else { break };
        anyhow::ensure!(last.seq == at + page.rows.len() as u64, "the journal has a gap after {at}");
        at = last.seq;
    }
    anyhow::ensure!(at == events as u64, "the journal ends at {at} of {events}");
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

/// Appends of `group` events and one fdatasync: events a second, and microseconds of an append, p50.
fn appended(dir: &std::path::Path, events: usize, group: usize) -> Result<(f64, f64)> {
    let mut file = std::fs::File::options().create(true).append(true).open(dir.join("floor"))?;
    let bytes = vec![b'.'; delta(1000)?.packed.payload().len() * group];
    let (mut times, began) = (Vec::new(), Instant::now());
    for _ in 0..events.div_ceil(group) {
        let before = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.push(before.elapsed().as_secs_f64() * 1e6);
    }
    Ok((events as f64 / began.elapsed().as_secs_f64(), quantile(&mut times, 0.5)))
}

/// Events a second when the same bytes are read from a file in pages of 256 and counted by their newlines.
fn read_back(dir: &std::path::Path, events: usize) -> Result<f64> {
    let path = dir.join("lines");
    let size = delta(1000)?.packed.payload().len();
    let line: Vec<u8> = std::iter::repeat_n(b'.', size).chain([b'\n']).collect();
    std::fs::write(&path, line.repeat(events))?;
    let (mut file, mut page, mut lines) = (std::fs::File::open(&path)?, vec![0; size * BATCH], 0);
    let began = Instant::now();
    loop {
        let read = file.read(&mut page)?;
        if read == 0 {
            break;
        }
        lines += page[..read].iter().filter(|byte| **byte == b'\n').count();
    }
    anyhow::ensure!(lines == events, "{lines} lines of {events}");
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

pub async fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    let (events, messages) = scale.pick((256 * 1000, 400), (512, 5));
    for _ in 0..scale.rounds {
        let dir = tempfile::tempdir()?;
        let journal = Journal::open(dir.path(), "boot")?;
        let (key, log) = session(&journal, "deltas").await?;
        let committed = commits(&journal, key, &log, events).await?;
        let (append, _) = appended(dir.path(), events, BATCH)?;
        let mut rate = |name, goal, octo, floor| figures.add("journal", name, "events/s", goal, octo, Some(floor));
        rate("commits of 256 deltas", Goal::AtLeast(100_000.0), committed, ("append + fdatasync of 256", append));
        let replayed = replay(&journal, key, events).await?;
        rate("replay", Goal::AtLeast(300_000.0), replayed, ("read of a file", read_back(dir.path(), events)?));
        let durable = durable(&journal, messages).await?;
        let (_, append) = appended(dir.path(), usize::try_from(messages)?, 1)?;
        figures.add("journal", "a durable commit of one message, p50", "µs", Goal::Shown, durable, Some(("append + fdatasync", append)));
        journal.close().await;
    }
    Ok(())
}
