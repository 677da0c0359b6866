//! Paced events: how long one takes from the agent's stdout to each watcher, and what a delivery costs.

use super::Scale;
use crate::audience::Audience;
use crate::figure::{Figures, Goal, quantile};
use crate::process::{cpu_of, cpu_us};
use crate::stage::{BareAgent, PATIENCE, Stage, Watching};
use anyhow::Result;
use octo_e2e::Script;

/// What a turn with an audience showed.
pub(super) struct Shown {
    p50: f64,
    pub(super) p99: f64,
    /// Microseconds of octo and octo-runner for a frame.
    cpu: f64,
    /// The same for all of them.
    pub(super) cpu_all: f64,
}

fn shown(mut watching: Watching, cpu: f64, deltas: u64) -> Result<Shown> {
    anyhow::ensure!(watching.lost(deltas) == 0.0, "{} deltas of {deltas} did not arrive as they should", watching.lost(deltas));
    let frames = watching.frames();
    Ok(Shown { p50: quantile(&mut watching.latencies, 0.5), p99: quantile(&mut watching.latencies, 0.99), cpu: cpu / frames, cpu_all: cpu })
}

async fn turn(audience: Audience, watching: Watching) -> Result<(Audience, Watching)> {
    let (mut audience, mut watching) = (audience, watching);
    tokio::task::spawn_blocking(move || {
        watching.turn(&mut audience)?;
        Ok((audience, watching))
    })
    .await?
}

pub(super) async fn octo(stage: &mut Stage, watchers: usize, script: &Script) -> Result<Shown> {
    let (audience, mut watching) = stage.audience(watchers).await?;
    watching.again();
    let pids = stage.pids()?;
    let before = cpu_of(&pids)?;
    let turn = tokio::spawn(turn(audience, watching));
    stage.prompt(script).await;
    let (_, watching) = turn.await??;
    let cpu = cpu_of(&pids)? - before;
    stage.client.idle(crate::stage::SESSION).await;
    shown(watching, cpu, script.deltas)
}

async fn floor(watchers: usize, script: &Script) -> Result<Shown> {
    let (mut agent, floor) = BareAgent::copied_to(watchers)?;
    let audience = Audience::new(floor.port, "/", None, watchers)?;
    let audience = tokio::task::spawn_blocking(move || {
        let mut audience = audience;
        audience.open(PATIENCE)?;
        anyhow::Ok(audience)
    })
    .await??;
    let before = cpu_us(floor.pid())?;
    let turn = tokio::spawn(turn(audience, Watching::new(watchers)));
    agent.prompt(script)?;
    let (_, watching) = turn.await??;
    let cpu = cpu_us(floor.pid())? - before;
    shown(watching, cpu, script.deltas)
}

pub async fn latency(scale: Scale, figures: &mut Figures) -> Result<()> {
    let script = Script::deltas(scale.pick(1000, 40)).paced(scale.pick(200.0, 400.0)).size(40).stamped();
    let mut stage = Stage::new().await;
    for _ in 0..scale.rounds {
        let (octo, floor) = (octo(&mut stage, 1, &script).await?, floor(1, &script).await?);
        let mut add = |name, goal, octo, floor| figures.add("latency", name, "µs", goal, octo, Some(("blocking copy", floor)));
        add("stdout to socket, p50", Goal::RatioAtMost(1.5), octo.p50, floor.p50);
        add("stdout to socket, p99", Goal::Shown, octo.p99, floor.p99);
        add("CPU for an event (octo and octo-runner)", Goal::Shown, octo.cpu, floor.cpu);
    }
    Ok(())
}

pub async fn fanout(scale: Scale, figures: &mut Figures) -> Result<()> {
    // About as many deliveries for each size of the audience.
    let sizes =
        scale.pick(&[(1, 400, 200.0), (100, 150, 50.0), (1000, 40, 10.0), (10_000, 8, 1.0)][..], &[(1, 10, 100.0), (20, 10, 100.0)][..]);
    let mut stage = Stage::new().await;
    for _ in 0..scale.rounds {
        for (watchers, deltas, rate) in sizes.iter().copied().filter(|(watchers, ..)| *watchers <= scale.watchers) {
            let script = Script::deltas(deltas).paced(rate).size(40).stamped();
            let (octo, floor) = (octo(&mut stage, watchers, &script).await?, floor(watchers, &script).await?);
            let mut add = |what: &str, octo, floor| {
                let name = format!("{what}, {watchers} watchers");
                figures.add("fanout", &name, "µs", Goal::Shown, octo, Some(("blocking copy", floor)));
            };
            add("to a socket, p50", octo.p50, floor.p50);
            add("to a socket, p99", octo.p99, floor.p99);
            add("CPU for a delivery", octo.cpu, floor.cpu);
        }
    }
    Ok(())
}
