//! What sessions hold in which nothing happens: ten thousand of them, of ten users, in one octo and ten runners. Their agents sleep.

use super::Scale;
use super::memory::settled;
use crate::figure::{Figures, Goal, quantile};
use anyhow::{Context, Result, ensure};
use octo::auth::UserId;
use octo::config::{Config, Environment, Overrides};
use octo::users::FOLLOW_LINGER;
use octo_e2e::{Client, Instance, Options};
use octo_protocol::SessionConfig;
use octo_runner::journal::{BOOT_ID_FILE, Journal, NewSession};
use serde_json::json;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Sessions of one connection: it may be attached to 256.
const TOGETHER: usize = 250;
/// A user without sessions: what its runner holds is no session's.
const NOBODY: &str = "nobody";

fn user(number: usize) -> String {
    format!("user{number}")
}

/// What every session's id begins with.
const SESSION_PREFIX: &str = "ses_0123456789abcdef0123456789";

fn session(number: usize) -> String {
    format!("{SESSION_PREFIX}{number:06}")
}

/// A journal with so many sessions, as a runner finds it when it starts.
async fn fill(directory: &Path, workspace: &Path, sessions: usize) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let boot = std::fs::read_to_string(BOOT_ID_FILE).unwrap_or_default();
    let journal = Journal::open(directory, boot.trim())?;
    let provision = json!({"eavs_key": "eavs-00000000000000000000000000000000", "providers": [], "default_provider": "demo", "default_model": "scripted"});
    let made = (0..sessions).map(|number| {
        let new = NewSession {
            id: session(number),
            epoch: format!("e{number}").parse()?,
            harness: "pi".to_owned(),
            cwd: workspace.display().to_string(),
            provider: "demo".to_owned(),
            model: "scripted".to_owned(),
            config: SessionConfig { cwd: Some(workspace.display().to_string()), ..SessionConfig::default() },
            provision: provision.to_string(),
            readable_id: format!("quiet-lake-{number}"),
            parent: None,
            created_at: 1,
        };
        Ok::<_, anyhow::Error>(async { journal.create(new).await })
    });
    for made in futures_util::future::join_all(made.collect::<Result<Vec<_>>>()?).await {
        made?;
    }
    journal.close().await;
    Ok(())
}

/// A client that is attached to `sessions` and reads whatever comes.
async fn attached(instance: &Instance, token: &str, sessions: Vec<String>) -> Result<tokio::task::JoinHandle<()>> {
    let mut client = Client::new(&instance.url(), token);
    client.reconnect().await;
    for session in &sessions {
        let answer = client.attach(session).await.context("octo takes one more")?;
        ensure!(answer["success"] == true, "{answer}");
        client.event(session, |frame| frame["event"] == "replay.end").await.context("it is live")?;
    }
    Ok(tokio::spawn(async move { while client.next().await.is_some() {} }))
}

/// Milliseconds from starting octoctl to the last line of the tree, in which every session stands.
fn tree(instance: &Instance, sessions: usize) -> Result<f64> {
    let began = Instant::now();
    let output = instance.command("octoctl").args(["actor", "tree"]).stdout(Stdio::piped()).output()?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    let shown = output.stdout.windows(SESSION_PREFIX.len()).filter(|window| *window == SESSION_PREFIX.as_bytes()).count();
    ensure!(output.status.success() && shown >= sessions, "octoctl shows {shown} of {sessions} sessions: {}", output.status);
    Ok(took)
}

struct Held {
    octo: f64,
    runners: f64,
}

async fn held(scale: Scale, instance: &Instance, nobody: i32) -> Result<Held> {
    let octo = settled(scale, instance.octo_pid().context("octo runs")?).await?;
    let mut runners = 0.0;
    let without = crate::process::rss_kib(nobody)?.0;
    for runner in instance.daemons("octo-runner").iter().filter(|runner| runner.pid != nobody) {
        runners += crate::process::rss_kib(runner.pid)?.0 - without;
    }
    Ok(Held { octo, runners })
}

pub async fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    let (users, each) = (scale.pick(10, 2), scale.pick(1000, 20));
    let all = users * each;
    for _ in 0..scale.rounds {
        let mut instance = Instance::new(Options::scripted());
        let env: Environment = [("HOME", instance.home().to_str().context("a home")?)].into_iter().collect();
        let paths = Config::load_with(&env, &Overrides::default())?.settings()?.paths;
        for number in 0..users {
            fill(&paths.runner_data_dir(&UserId::new(user(number))?), &instance.workspace(), each).await?;
        }
        instance.start().await;
        let mut client = Client::connect(&instance).await;
        let list = json!({"cmd": "list_sessions"});
        client.command(&format!("{NOBODY}/"), list.clone()).await;
        let nobody = instance.daemons("octo-runner").first().context("a runner without sessions")?.pid;
        let before = held(scale, &instance, nobody).await?;
        for number in 0..users {
            let listed = client.command(&format!("{}/", user(number)), list.clone()).await;
            ensure!(listed["sessions"].as_array().is_some_and(|sessions| sessions.len() == each), "not every session is there");
        }
        let listed = held(scale, &instance, nobody).await?;
        let names: Vec<String> = (0..all).map(|n| format!("{}/{}", user(n % users), session(n / users))).collect();
        let mut clients = Vec::new();
        for names in names.chunks(TOGETHER) {
            clients.push(attached(&instance, client.token(), names.to_vec()).await?);
        }
        let attached = held(scale, &instance, nobody).await?;
        let mut trees = Vec::new();
        for _ in 0..scale.pick(5, 1) {
            trees.push(tree(&instance, all)?);
        }
        clients.iter().for_each(tokio::task::JoinHandle::abort);
        tokio::time::sleep(scale.pick(2 * FOLLOW_LINGER, Duration::ZERO)).await;
        let left = held(scale, &instance, nobody).await?;

        let each = |kib: f64| kib / all as f64;
        let mut add = |name: &str, unit, goal, value| figures.add("sessions", name, unit, goal, value, None);
        add("an idle session in octo, in the list only", "KiB", Goal::Shown, each(listed.octo - before.octo));
        add("an idle session in octo, with a client", "KiB", Goal::AtMost(16.0), each(attached.octo - before.octo));
        let mib = Goal::AtMost(if scale.smoke { f64::MAX } else { 200.0 });
        add(&format!("octo with {all} idle sessions, each with a client"), "MiB", mib, attached.octo / 1024.0);
        add("kept of it in octo when its client has left", "KiB", Goal::Shown, each(left.octo - before.octo));
        add(&format!("`octoctl actor tree` of {all} sessions"), "ms", Goal::AtMost(200.0), quantile(&mut trees, 0.5));
        add("a sleeping session in octo-runner", "KiB", Goal::Shown, each(listed.runners));
        add("a sleeping session in octo-runner, with a client", "KiB", Goal::Shown, each(attached.runners));
    }
    Ok(())
}
