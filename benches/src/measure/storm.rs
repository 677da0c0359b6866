//! Everybody comes back at once, as after a restart: connect, authenticate, upgrade, attach, and read what was missed.

use super::Scale;
use crate::audience::{Audience, Came, Go, number_of};
use crate::figure::{Figures, Goal};
use crate::process::FloorProcess;
use crate::stage::{PATIENCE, SESSION, Stage, Watching};
use anyhow::Result;
use octo_e2e::Script;
use serde_json::json;
use std::time::Instant;

/// Events that each client missed.
const MISSED: u64 = 100;

/// Seconds until each has all that it missed, in order; and how often octo was too busy to attach somebody at once.
async fn octo(stage: &Stage, clients: usize) -> Result<(f64, f64)> {
    let mut cursor = stage.cursor()?;
    let head = cursor["seq"].as_u64().unwrap_or_default();
    cursor["seq"] = json!(head - MISSED);
    let mut audience = Audience::new(stage.instance.port(), "/api/ws/mux", Some(stage.client.token()), clients)?;
    tokio::task::spawn_blocking(move || {
        let mut watching = Watching::new(clients);
        let began = Instant::now();
        watching.attach(&mut audience, &cursor)?;
        let seconds = began.elapsed().as_secs_f64();
        let short = watching.seen.iter().filter(|seen| seen.wrong > 0 || seen.deltas != MISSED || seen.seq != head).count();
        anyhow::ensure!(short == 0, "{short} clients did not get what they missed: {:?}", watching.seen.first());
        Ok((seconds, watching.refused as f64))
    })
    .await?
}

async fn floor(clients: usize) -> Result<f64> {
    let floor = FloorProcess::start(&["storm", "--frames", &MISSED.to_string(), "--size", "270"], None)?;
    let mut audience = Audience::new(floor.port, "/", None, clients)?;
    tokio::task::spawn_blocking(move || {
        let mut left = clients;
        let began = Instant::now();
        audience.run(PATIENCE, |audience, index, came| {
            match came {
                Came::Open => drop(audience.send(index, "attach")),
                Came::Text(frame) => left -= usize::from(number_of(frame, "seq") == Some(MISSED)),
                Came::Closed => {}
            }
            if left == 0 { Go::Stop } else { Go::On }
        })?;
        Ok(began.elapsed().as_secs_f64())
    })
    .await?
}

pub async fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    let clients = scale.pick(10_000.min(scale.watchers), 50);
    let mut stage = Stage::new().await;
    // In the middle of an answer, whose deltas are all still there.
    stage.prompt(&Script { hang: true, ..Script::deltas(MISSED * 2) }).await;
    let last = format!("{} ", MISSED * 2 - 1);
    stage.client.event(SESSION, |frame| frame["delta"].as_str().is_some_and(|delta| delta.starts_with(&last))).await;
    for _ in 0..scale.rounds {
        let ((octo, refused), floor) = (octo(&stage, clients).await?, floor(clients).await?);
        let name = format!("{clients} clients, {MISSED} missed events each");
        figures.add("storm", &name, "s", Goal::AtMost(3.0), octo, Some(("tokio accept, upgrade, one write", floor)));
        figures.add("storm", "attaches that had to be tried again", "times", Goal::Shown, refused, None);
    }
    Ok(())
}
