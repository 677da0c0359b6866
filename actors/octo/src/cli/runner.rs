//! `octo runner`: the daemon of a user, found by its socket.

use std::path::PathBuf;
use std::sync::Arc;

use octo::auth::UserId;
use octo::config::Overrides;
use octo::launch::{Launch, RUNNER, peer, stop};
use serde_json::json;

use super::arguments::RunnerCommand;
use super::exit::Failure;
use super::output::Output;

pub fn run(command: RunnerCommand, file: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let (RunnerCommand::Start(user) | RunnerCommand::Stop(user) | RunnerCommand::Restart(user) | RunnerCommand::Status(user)) = &command;
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
