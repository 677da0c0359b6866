//! The runner link: the real octo-runner on one side, octo's own client of it on the other.

use super::Scale;
use crate::figure::{Figures, Goal};
use crate::process::cpu_us;
use crate::stage::{SESSION, Stage};
use anyhow::{Context, Result};
use octo::link::{Item, Link, Target, connect};
use octo_e2e::Script;
use octo_protocol::SessionId;
use octo_protocol::link::{EndReason, SUBSCRIPTION_CREDIT};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;
use tokio::sync::watch;

/// Deltas that the runner's ring certainly has: it keeps 2 048 events.
const RING: u64 = 1500;

/// Events and payload bytes a second of all subscriptions together.
async fn stream(link: &Link, after: u64, until: u64, subscriptions: usize) -> Result<(f64, f64)> {
    let session: SessionId = SESSION.parse()?;
    let began = Instant::now();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..subscriptions {
        let mut subscription = link.subscribe(&session, None, Some(after), Some(until), SUBSCRIPTION_CREDIT)?;
        readers.spawn(async move {
            let (mut at, mut bytes) = (after, 0);
            while let Some(item) = subscription.next().await {
                match item {
                    Item::Event(event) => {
                        anyhow::ensure!(event.seq == at + 1, "event {} after {at}", event.seq);
                        at = event.seq;
                        bytes += event.payload.len();
                    }
                    Item::Ended(reason) => {
                        anyhow::ensure!(reason == EndReason::Complete && at == until, "ended at {at} of {until}: {reason:?}");
                        return Ok(bytes);
                    }
                    Item::Started(_) => {}
                }
            }
            anyhow::bail!("the link was lost")
        });
    }
    let mut bytes = 0;
    while let Some(read) = readers.join_next().await {
        bytes += read??;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok((((until - after) * subscriptions as u64) as f64 / seconds, bytes as f64 / seconds))
}

/// Bytes a second through a Unix socket, in blocks of 64 KiB.
fn raw(bytes: usize) -> Result<f64> {
    let (mut to, mut from) = UnixStream::pair()?;
    let writer = std::thread::spawn(move || {
        let block = vec![b'.'; 64 * 1024];
        for _ in 0..bytes.div_ceil(block.len()) {
            to.write_all(&block)?;
        }
        anyhow::Ok(())
    });
    let (mut block, mut read, began) = (vec![0; 64 * 1024], 0, Instant::now());
    loop {
        match from.read(&mut block)? {
            0 => break,
            more => read += more,
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    Ok(read as f64 / seconds)
}

pub async fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    let (deltas, subscriptions) = scale.pick((100_000, 400), (2000, 4));
    let mut stage = Stage::new().await;
    let begin = stage.cursor()?["seq"].as_u64().context("a cursor")?;
    // In the middle of an answer of less than a mebibyte: nothing of it is superseded. The client would fall behind and read it again; it leaves.
    stage.prompt(&Script { hang: true, ..Script::deltas(deltas).size(8) }).await;
    stage.client.cut();
    stage.instance.kill_octo();
    let runner = stage.instance.runner().pid;
    let runners = stage.instance.home().join(".local/state/octo/run/runners");
    let socket =
        std::fs::read_dir(&runners)?.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "sock"));
    let socket = socket.with_context(|| format!("no runner's socket in {}", runners.display()))?;
    let user = socket.file_stem().and_then(|stem| stem.to_str()).context("a user")?.to_owned();
    let (sessions, list) = watch::channel(None);
    let target = Target { socket, uid: nix::unistd::geteuid().as_raw(), user, instance: "bench".to_owned() };
    let (link, driver) = connect(&target, sessions).await?;
    let driven = tokio::spawn(driver.run());

    // All deltas are in the journal when its head does not move any more.
    let session: SessionId = SESSION.parse()?;
    let mut all = link.subscribe(&session, None, Some(begin), None, SUBSCRIPTION_CREDIT)?;
    let mut head = begin;
    let mut seen = 0;
    while seen < deltas {
        match all.next().await {
            Some(Item::Event(event)) => {
                head = head.max(event.seq);
                seen += u64::from(event.payload.windows(17).any(|w| w == b"stream.text_delta"));
            }
            Some(Item::Started(_)) => {}
            other => anyhow::bail!("the subscription ended: {other:?}"),
        }
    }
    drop((all, list));

    for _ in 0..scale.rounds {
        let own = std::process::id().cast_signed();
        let before = (cpu_us(runner)?, cpu_us(own)?);
        let after = head - RING.min(deltas / 2);
        let (live, bytes) = stream(&link, after, head, subscriptions).await?;
        let events = ((head - after) * subscriptions as u64) as f64;
        let (of_runner, of_octo) = ((cpu_us(runner)? - before.0) / events, (cpu_us(own)? - before.1) / events);
        figures.add("link", "CPU for an event in octo-runner", "µs", Goal::Shown, of_runner, None);
        figures.add("link", "CPU for an event in octo's client", "µs", Goal::Shown, of_octo, None);
        let floor = raw(scale.pick(1 << 30, 1 << 20))?;
        let size = bytes / live;
        figures.add(
            "link",
            "events from the ring",
            "events/s",
            Goal::AtLeast(1_000_000.0),
            live,
            Some(("raw socket, 64 KiB blocks", floor / size)),
        );
        let (replayed, _) = stream(&link, begin, head, 1).await?;
        figures.add(
            "link",
            "replay of the journal over it",
            "events/s",
            Goal::AtLeast(300_000.0),
            replayed,
            Some(("raw socket, 64 KiB blocks", floor / size)),
        );
    }
    driven.abort();
    Ok(())
}
