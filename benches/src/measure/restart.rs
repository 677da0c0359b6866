//! How soon what crashed is back: an actor of the kit, and a session whose agent was killed.

use super::Scale;
use crate::figure::{Figures, Goal, quantile};
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use octo_actors::{Actor, Ctx, Failure, Kind, Reply, System};
use octo_e2e::{Client, Instance};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

struct Crashing;

enum Msg {
    Crash,
    There(Reply<()>),
}

impl Actor for Crashing {
    type Msg = Msg;
    type Args = mpsc::UnboundedSender<()>;

    async fn start(begun: Self::Args, _: &Ctx<Msg>) -> Result<Self, Failure> {
        let _ = begun.send(());
        Ok(Self)
    }

    async fn handle(&mut self, message: Msg, _: &Ctx<Msg>) -> Result<(), Failure> {
        match message {
            Msg::Crash => Err("as told".into()),
            Msg::There(reply) => {
                reply.send(());
                Ok(())
            }
        }
    }
}

/// Microseconds from the message in which each of `actors` fails to the first answer of what follows it.
async fn actors(actors: usize) -> Result<Vec<f64>> {
    let (system, mut took) = (System::new(), Vec::new());
    for number in 0..actors {
        // One of its own for each: the second restart of one waits, and shall.
        let (begin, mut begun) = mpsc::unbounded_channel();
        let actor = system.root().start_child::<Crashing>(Kind::permanent("crashing"), &number.to_string(), move || begin.clone()).await?;
        actor.ready(PATIENCE).await?;
        begun.recv().await.context("it has begun")?;
        let began = Instant::now();
        actor.tell(Msg::Crash)?;
        // Whoever asked again and again meanwhile would take the processor away from those who start it.
        begun.recv().await.context("it begins again")?;
        while actor.ask(Msg::There, PATIENCE).await.is_err() {
            tokio::task::yield_now().await;
        }
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    system.shutdown(PATIENCE).await;
    Ok(took)
}

/// The same with as little as it takes: a task that ends, whoever waits for it, and another task that answers.
async fn tasks(tasks: usize) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for _ in 0..tasks {
        let (crash, crashed) = oneshot::channel::<()>();
        let task = tokio::spawn(crashed);
        tokio::task::yield_now().await;
        let began = Instant::now();
        let (answer, answered) = oneshot::channel();
        let supervisor = tokio::spawn(async move {
            let _ = task.await;
            tokio::spawn(async move { answer.send(()) });
        });
        drop(crash);
        answered.await?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
        supervisor.await?;
    }
    Ok(took)
}

pub async fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    for _ in 0..scale.rounds {
        let crashes = scale.pick(1000, 20);
        let (mut octo, mut bare) = (actors(crashes).await?, tasks(crashes).await?);
        let floor = Some(("a tokio task", quantile(&mut bare, 0.5)));
        figures.add("restart", "a crashed actor is back, p50", "µs", Goal::AtMost(1000.0), quantile(&mut octo, 0.5), floor);
        let floor = Some(("a tokio task", quantile(&mut bare, 0.99)));
        figures.add("restart", "a crashed actor is back, p99", "µs", Goal::AtMost(1000.0), quantile(&mut octo, 0.99), floor);

        let (mut started, mut back) = agents(scale.pick(20, 2)).await?;
        let floor = Some(("session.create, to its answer", quantile(&mut started, 0.5)));
        let name = "an agent that was killed is back, as its client sees it, p50";
        figures.add("restart", name, "ms", Goal::ExtraAtMost(50.0), quantile(&mut back, 0.5), floor);
    }
    Ok(())
}

/// Milliseconds in which an agent starts for a new session, and in which it is back after it was killed.
async fn agents(agents: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    let (mut started, mut back) = (Vec::new(), Vec::new());
    for number in 0..agents {
        let session = format!("ses_{number}");
        let config = json!({"harness": "pi", "cwd": instance.workspace(), "provider": "demo", "model": "scripted"});
        let began = Instant::now();
        client.command(&session, json!({"cmd": "session.create", "config": config})).await;
        started.push(began.elapsed().as_secs_f64() * 1e3);
        client.event(&session, |frame| frame["event"] == "replay.end").await.context("it is live")?;
        let list = client.command("", json!({"cmd": "list_sessions"})).await;
        let row = list["sessions"].as_array().and_then(|rows| rows.iter().find(|row| row["session_id"] == session.as_str()).cloned());
        let pid = row.and_then(|row| row["pid"].as_i64()).context("it has an agent")?;
        let began = Instant::now();
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
        client.event(&session, |frame| frame["event"] == "session.restarted").await.context("it comes back")?;
        back.push(began.elapsed().as_secs_f64() * 1e3);
        client.command(&session, json!({"cmd": "session.delete"})).await;
    }
    Ok((started, back))
}
