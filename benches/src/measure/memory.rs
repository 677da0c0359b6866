//! What connections, sessions and processes hold when nothing happens.

use super::Scale;
use crate::audience::Audience;
use crate::figure::{Figures, Goal};
use crate::process::{FloorProcess, cpu_us, rss_kib};
use crate::stage::{PATIENCE, Stage};
use anyhow::{Context, Result};
use octo_e2e::{Client, Instance};
use std::time::Duration;

/// How often it is looked whether memory has changed.
const LOOK: Duration = Duration::from_millis(500);
/// Looks without a change after which it counts as settled. octo gives back what it does not use in steps of some seconds.
const UNCHANGED: u32 = 12;
/// Looks in all.
const LOOKS: u32 = 80;

/// Resident memory when it no longer changes, in KiB.
pub async fn settled(scale: Scale, pid: i32) -> Result<f64> {
    let (mut before, mut unchanged) = (rss_kib(pid)?.0, 0);
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK).await;
        let now = rss_kib(pid)?.0;
        unchanged = if (now - before).abs() < 64.0 { unchanged + 1 } else { 0 };
        before = now;
        if unchanged == scale.pick(UNCHANGED, 1) {
            break;
        }
    }
    Ok(before)
}

async fn opened(port: u16, path: &'static str, token: Option<&str>, watchers: usize) -> Result<Audience> {
    let mut audience = Audience::new(port, path, token, watchers)?;
    tokio::task::spawn_blocking(move || audience.open(PATIENCE).map(|()| audience)).await?
}

async fn floor(scale: Scale, arguments: &[&str], watchers: usize) -> Result<f64> {
    let floor = FloorProcess::start(arguments, None)?;
    let before = settled(scale, floor.pid()).await?;
    let _audience = opened(floor.port, "/", None, watchers).await?;
    Ok((settled(scale, floor.pid()).await? - before) / watchers as f64)
}

pub async fn connections(scale: Scale, figures: &mut Figures) -> Result<()> {
    let watchers = scale.pick(10_000.min(scale.watchers), 50);
    let each = |before: f64, after: f64| (after - before) / watchers as f64;
    for _ in 0..scale.rounds {
        // A process of its own for each round: what it once had, it may keep for the next.
        let stage = Stage::new().await;
        let pid = stage.instance.octo_pid().context("octo runs")?;
        let before = settled(scale, pid).await?;
        let audience = opened(stage.instance.port(), "/api/ws/mux", Some(stage.client.token()), watchers).await?;
        let with = settled(scale, pid).await?;
        drop(audience);
        let after = settled(scale, pid).await?;
        let (audience, _) = stage.audience(watchers).await?;
        let attached = settled(scale, pid).await?;
        drop(audience);

        let hold = floor(scale, &["hold"], watchers).await?;
        let peer = floor(scale, &["axum", "--size", "270", "--room", "1", "--read-buffer", "4096"], watchers).await?;
        let mut add = |name: &str, unit, goal, octo, floor| figures.add("memory", name, unit, goal, octo, floor);
        let axum = Some(("axum, 4 KiB buffer", peer));
        add(&format!("an idle mux connection of {watchers}"), "KiB", Goal::AtMost(12.0), each(before, with), axum);
        add("the same beside bare tokio sockets", "KiB", Goal::Shown, each(before, with), Some(("bare tokio", hold)));
        add("an idle mux connection attached to a session", "KiB", Goal::Shown, each(after, attached), axum);
        add("kept of each connection when all are closed", "KiB", Goal::AtMost(1.0), each(before, after), None);
        drop(stage);
        sessions(scale, figures).await?;
    }
    Ok(())
}

async fn sessions(scale: Scale, figures: &mut Figures) -> Result<()> {
    let sessions = scale.pick(100, 2);
    let mut stage = Stage::new().await;
    let [octo, runner] = stage.pids()?;
    let before = (settled(scale, octo).await?, settled(scale, runner).await?, sandboxes(&stage.instance)?);
    let workspace = stage.instance.workspace();
    for number in 0..sessions {
        stage.client.create(&format!("more_{number}"), &workspace).await;
    }
    let after = (settled(scale, octo).await?, settled(scale, runner).await?, sandboxes(&stage.instance)?);
    let each = |before: f64, after: f64| (after - before) / f64::from(sessions);
    let mut add = |name, value| figures.add("memory", name, "KiB", Goal::Shown, value, None);
    add("an idle session in octo", each(before.0, after.0));
    add("an idle session in octo-runner", each(before.1, after.1));
    add("an idle session's sandbox processes", each(before.2, after.2));
    Ok(())
}

/// What is not the agent's own of everything below the runner.
fn sandboxes(instance: &Instance) -> Result<f64> {
    let processes = instance.tree().into_iter().filter(|process| process.name == "octo-sandbox" || process.name == "bwrap");
    processes.map(|process| Ok(rss_kib(process.pid)?.1)).sum()
}

pub async fn idle(scale: Scale, figures: &mut Figures) -> Result<()> {
    for _ in 0..scale.rounds {
        let instance = Instance::scripted().await;
        // Somebody was there, so that the user's runner runs, and left.
        let mut client = Client::connect(&instance).await;
        client.command("", serde_json::json!({"cmd": "list_sessions"})).await;
        drop(client);
        let octo = instance.octo_pid().context("octo runs")?;
        let runner = instance.runner().pid;
        let eavs = instance.daemons("octo-eavs").first().context("octo-eavs runs")?.pid;
        let floor = FloorProcess::start(&["hello"], None)?;
        let axum = settled(scale, floor.pid()).await? / 1024.0;
        let mut show = |name, goal, value: f64| figures.add("idle", name, "MiB", goal, value / 1024.0, Some(("plain axum", axum)));
        show("octo", Goal::AtMost(20.0), settled(scale, octo).await?);
        show("octo-runner", Goal::AtMost(10.0), settled(scale, runner).await?);
        show("octo-eavs", Goal::Shown, settled(scale, eavs).await?);
        let before = cpu_us(octo)? + cpu_us(runner)?;
        let seconds = scale.pick(5, 1);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let used = (cpu_us(octo)? + cpu_us(runner)? - before) / 1000.0 / seconds as f64;
        figures.add("idle", "CPU of octo and octo-runner in a second", "ms", Goal::Shown, used, None);
    }
    Ok(())
}
