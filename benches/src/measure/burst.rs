//! Unpaced bursts: nothing may be lost, and what a delivered frame costs.

use super::Scale;
use crate::audience::{Audience, Came, Go, number_of};
use crate::figure::{Figures, Goal};
use crate::process::{FloorProcess, cpu_of, cpu_us};
use crate::stage::{PATIENCE, Stage};
use anyhow::{Context, Result};
use octo_e2e::{Script, monotonic_ns};
use std::io::Write;

/// Bytes of an event as octo sends it; the floors send as many.
const FRAME: usize = 270;

/// What a burst showed.
struct Shown {
    lost: f64,
    /// Microseconds for each frame.
    cpu: f64,
    frames_per_s: f64,
}

async fn octo(stage: &mut Stage, watchers: usize, tokens: u64) -> Result<Shown> {
    let (mut audience, mut watching) = stage.audience(watchers).await?;
    watching.again();
    let pids = stage.pids()?;
    let before = cpu_of(&pids)?;
    let turn = tokio::task::spawn_blocking(move || watching.turn(&mut audience).map(|()| watching));
    stage.prompt(&Script::deltas(tokens)).await;
    let watching = turn.await??;
    let cpu = cpu_of(&pids)? - before;
    stage.client.idle(crate::stage::SESSION).await;
    Ok(Shown { lost: watching.lost(tokens), cpu: cpu / watching.frames(), frames_per_s: watching.frames() / watching.seconds() })
}

async fn floor(arguments: &[&str], path: &str, watchers: usize, tokens: u64) -> Result<Shown> {
    let mut floor = FloorProcess::start(arguments, None)?;
    let mut audience = Audience::new(floor.port, path, None, watchers)?;
    tokio::task::spawn_blocking(move || {
        audience.open(PATIENCE)?;
        let before = cpu_us(floor.pid())?;
        floor.stdin.as_mut().context("a pipe")?.write_all(format!("{tokens}\n").as_bytes())?;
        let (mut seen, mut first, mut last, mut wrong) = (vec![0u64; watchers], 0, 0, 0u64);
        let mut left = watchers;
        audience.run(PATIENCE, |_, index, came| {
            if let Came::Text(frame) = came {
                last = monotonic_ns();
                first = if first == 0 { last } else { first };
                let number = number_of(frame, "seq").unwrap_or_default();
                wrong += u64::from(number != seen[index] + 1);
                seen[index] = number;
                left -= usize::from(number == tokens);
            }
            if left == 0 { Go::Stop } else { Go::On }
        })?;
        let frames = (tokens * watchers as u64) as f64;
        let cpu = cpu_us(floor.pid())? - before;
        Ok(Shown { lost: wrong as f64, cpu: cpu / frames, frames_per_s: frames * 1e9 / (last - first).max(1) as f64 })
    })
    .await?
}

async fn loops(kind: &str, per_write: usize, watchers: usize, tokens: u64) -> Result<Shown> {
    let numbers = [watchers.to_string(), FRAME.to_string(), per_write.to_string()];
    floor(&[kind, "--watchers", &numbers[0], "--size", &numbers[1], "--per-write", &numbers[2]], "/", watchers, tokens).await
}

async fn axum(watchers: usize, tokens: u64) -> Result<Shown> {
    let numbers = [FRAME.to_string(), (tokens + 1).to_string()];
    floor(&["axum", "--size", &numbers[0], "--room", &numbers[1], "--read-buffer", "4096"], "/", watchers, tokens).await
}

/// 3 000 tokens to 200 watchers.
pub async fn burst(scale: Scale, figures: &mut Figures) -> Result<()> {
    let (watchers, tokens) = scale.pick((200, 3000), (10, 100));
    let mut stage = Stage::new().await;
    for _ in 0..scale.rounds {
        let (octo, floor) = (octo(&mut stage, watchers, tokens).await?, loops("tokio", 16, watchers, tokens).await?);
        let name = format!("lost of {tokens} tokens to {watchers} watchers");
        figures.add("burst", &name, "frames", Goal::AtMost(0.0), octo.lost, Some(("tokio, 16 a write", floor.lost)));
        let cpu = "CPU for a delivered frame (octo and octo-runner)";
        figures.add("burst", cpu, "µs", Goal::AtMost(4.0), octo.cpu, Some(("tokio, 16 a write", floor.cpu)));
    }
    Ok(())
}

/// A burst to 1 000 watchers beside everything else.
pub async fn crowd(scale: Scale, figures: &mut Figures) -> Result<()> {
    let (watchers, tokens) = scale.pick((1000.min(scale.watchers), 1000), (10, 100));
    let mut stage = Stage::new().await;
    for _ in 0..scale.rounds {
        let octo = octo(&mut stage, watchers, tokens).await?;
        let tokio = loops("tokio", 16, watchers, tokens).await?;
        let epoll = loops("epoll", 1, watchers, tokens).await?;
        let axum = axum(watchers, tokens).await?;
        anyhow::ensure!(octo.lost + tokio.lost + epoll.lost + axum.lost == 0.0, "frames were lost");
        let mut rate = |name, goal, floor| figures.add("crowd", name, "frames/s", goal, octo.frames_per_s, Some(floor));
        rate("deliveries beside tokio, 16 frames a write", Goal::RatioAtLeast(0.4), ("tokio, 16 a write", tokio.frames_per_s));
        rate("deliveries beside plain axum", Goal::RatioAtLeast(5.0), ("axum", axum.frames_per_s));
        rate("deliveries beside raw epoll, one frame a write", Goal::Shown, ("epoll", epoll.frames_per_s));
        let mut cost = |name, floor| figures.add("crowd", name, "µs", Goal::Shown, octo.cpu, Some(floor));
        cost("CPU for a delivery beside tokio, 16 frames a write", ("tokio, 16 a write", tokio.cpu));
        cost("CPU for a delivery beside plain axum", ("axum", axum.cpu));
        cost("CPU for a delivery beside raw epoll, one frame a write", ("epoll", epoll.cpu));
    }
    Ok(())
}
