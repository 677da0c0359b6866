//! What each command does. One file a noun.

pub mod actor;
mod doctor;
mod events;
mod journal;
mod logs;
mod metrics;
mod pages;
mod permission;
mod runner;
mod session;
mod status;
mod store;
mod user;

use std::path::Path;

use octo_protocol::admin::LeftOut;

use crate::arguments::{Cli, Command};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::runners::{self, Seen};

/// A command that asks octo.
pub struct Asking {
    pub client: Client,
    pub output: Output,
}

/// Does what the arguments say.
///
/// # Errors
/// [`Failure`], with its exit code.
pub async fn run(cli: Cli, output: Output) -> Result<(), Failure> {
    match &cli.command {
        Command::Completions { shell } => return pages::completions(*shell),
        Command::Man { dir } => return pages::man(dir.as_deref(), output),
        _ => {}
    }
    let place = Place::find(&cli.place)?;
    if let Command::Doctor { bundle } = &cli.command {
        return doctor::run(&place, output, bundle.as_deref()).await;
    }
    let client = match Client::new(&place) {
        Ok(client) => client,
        Err(failure) => return Err(down(&cli.command, &place, output, failure).await),
    };
    let asking = Asking { client, output };
    match cli.command {
        Command::Status => status::run(&asking).await,
        Command::Actor { command } => actor::run(&asking, command).await,
        Command::Session { command } => session::run(&asking, command).await,
        Command::User { command } => user::run(&asking, command).await,
        Command::Permission { command } => permission::run(&asking, command).await,
        Command::Runner { command } => runner::run(&asking, command).await,
        Command::Events { command } => events::run(&asking, command).await,
        Command::Journal { command } => journal::run(&asking, command).await,
        Command::Store { command } => store::run(&asking, command).await,
        Command::Logs(logs) => logs::run(&asking, logs).await,
        Command::Metrics { only } => metrics::run(&asking, only.as_deref()).await,
        Command::Doctor { .. } | Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

/// octo is down: says what its runners still tell, where that is what was asked for, and else that they do.
async fn down(command: &Command, place: &Place, output: Output, failure: Failure) -> Failure {
    use crate::arguments::{Runner, Session};
    let Some(door) = place.door.as_ref().filter(|_| failure.exit == Exit::Down) else { return failure };
    if let Command::Logs(_) = command {
        return Failure::new(failure.exit, format!("{}. The logs are in {}", failure.message, door.logs_dir));
    }
    let seen = runners::look(Path::new(&door.run_dir)).await;
    let shown = match command {
        Command::Status | Command::Runner { command: Runner::List } => Some(runners::table(&seen)),
        Command::Session { command: Session::List { user } } => Some(session::of_runners(&seen, user.as_deref())),
        _ => None,
    };
    if let Some(text) = shown {
        output.say(&text, &runners::value(&seen));
    }
    let running = seen.iter().filter(|runner| runner.running).count();
    Failure::new(failure.exit, format!("{}. {}", failure.message, remaining(running, &seen)))
}

fn remaining(running: usize, seen: &[Seen]) -> String {
    if running == 0 {
        return "No runner runs either, so no agent does".to_owned();
    }
    let sessions: usize = seen.iter().map(|runner| runner.sessions.len()).sum();
    let agents = seen.iter().flat_map(|runner| &runner.sessions).filter(|session| session.pid.is_some()).count();
    let (runners, sessions, agents) = (
        crate::show::plural(running as u64, "runner"),
        crate::show::plural(sessions as u64, "session"),
        crate::show::plural(agents as u64, "agent"),
    );
    format!("Below it go on: {runners} with {sessions}, {agents}")
}

/// Tells what is missing from an answer.
pub fn tell_left_out(output: Output, left_out: &[LeftOut]) {
    for left in left_out {
        output.note(&format!("{} is left out: {}", left.path, left.reason));
    }
}

/// A word as a segment of a path, or a value in a query.
pub fn escaped(word: &str) -> String {
    url::form_urlencoded::byte_serialize(word.as_bytes()).collect::<String>().replace('+', "%20")
}
