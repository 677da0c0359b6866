//! `octo runner`: the daemon of a user, found by its socket.

use std::path::PathBuf;
use std::sync::Arc;

use octo::auth::UserId;
use octo::config::Overrides;
use octo::launch::{Launch, RUNNER, peer, stop};
use octo::link::{self, Target};
use octo::paths::own_uid;
use serde_json::json;

use super::arguments::{RunnerCommand, Upgrade};
use super::exit::Failure;
use super::output::Output;

pub fn run(command: RunnerCommand, file: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let command = match command {
        RunnerCommand::Upgrade(upgrade) => return replace(upgrade, file, output),
        other => other,
    };
    let (RunnerCommand::Upgrade(Upgrade { user, .. })
    | RunnerCommand::Start(user)
    | RunnerCommand::Stop(user)
    | RunnerCommand::Restart(user)
    | RunnerCommand::Status(user)) = &command;
    let user = UserId::new(user.user.as_str())?;
    let settings = Arc::new(super::load(file, Overrides::default())?.settings()?);
    super::runtime()?.block_on(async move {
        let socket = settings.paths.runner_socket(&user);
        let log = settings.paths.log_file(&format!("{RUNNER}-{user}"));
        let launch = Launch::new(Arc::clone(&settings));
        if matches!(command, RunnerCommand::Stop(_) | RunnerCommand::Restart(_)) {
            let stopped = stop(&socket, RUNNER).await?;
            if matches!(command, RunnerCommand::Stop(_)) {
                let text = match stopped {
                    Some(peer) => format!("the runner of {user} (pid {}) has ended, with its agents", peer.pid),
                    None => format!("the runner of {user} does not run"),
                };
                output.say(&text, &json!({ "user": user, "running": false, "stopped_pid": stopped.map(|p| p.pid) }));
                return Ok(());
            }
        }
        if !matches!(command, RunnerCommand::Status(_)) {
            settings.paths.prepare()?;
            launch.ensure_runner(&user).await?;
        }
        let found = peer(&socket).await;
        let text = match found {
            Some(peer) => {
                format!("the runner of {user} runs (pid {})\n  socket  {}\n  log     {}", peer.pid, socket.display(), log.display())
            }
            None => format!(
                "the runner of {user} does not run; octo starts it when it is needed, or `octo runner start`\n  log     {}",
                log.display()
            ),
        };
        output.say(&text, &json!({ "user": user, "running": found.is_some(), "pid": found.map(|p| p.pid), "socket": socket, "log": log }));
        Ok(())
    })
}

/// `octo runner upgrade`: the same process goes on as another program.
fn replace(Upgrade { binary, user }: Upgrade, file: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let user = UserId::new(user.user.as_str())?;
    let settings = Arc::new(super::load(file, Overrides::default())?.settings()?);
    super::runtime()?.block_on(async move {
        let socket = settings.paths.runner_socket(&user);
        if peer(&socket).await.is_none() {
            return Err(Failure::other(format!("the runner of {user} does not run; what is started next is the new one anyway")));
        }
        let launch = Launch::new(Arc::clone(&settings));
        let binary = match binary {
            Some(path) => std::path::absolute(&path).map_err(|e| Failure::other(format!("{}: {e}", path.display())))?,
            None => launch.binary(RUNNER),
        };
        let target = Target { socket, uid: own_uid(), user: user.to_string(), instance: String::new() };
        let done = link::upgrade(&target, Some(&binary)).await?;
        let (before, after) = (done.before.software, done.after.software);
        let text = format!(
            "the runner of {user} (pid {}) goes on as {after} ({}), with its agents; it was {before}",
            done.after.pid,
            binary.display()
        );
        output.say(
            &text,
            &json!({ "user": user, "upgraded": true, "pid": done.after.pid, "before": before, "after": after, "binary": binary }),
        );
        Ok(())
    })
}
