//! `octoctl doctor`: every part with its version, how it stands, what to do. What is up answers for itself; what is down is looked at from outside.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use octo_protocol::admin::{Component, Door, Standing, Status};
use serde_json::json;

use super::status::parts;
use crate::bundle::Archive;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::place::{Place, Way};
use crate::runners;
use crate::show::{self, plural};

const OWN: &str = env!("CARGO_PKG_VERSION");

pub async fn run(place: &Place, output: Output, bundle: Option<&Path>) -> Result<(), Failure> {
    // Before octo is asked: a file that is there already is somebody's.
    let archive = bundle.map(Archive::create).transpose()?;
    let (found, exit) = look(place).await;
    match archive {
        Some(archive) => crate::bundle::write(place, output, archive, &found, exit).await,
        None => end(&found, output, exit),
    }
}

/// Every part; and how octo failed to answer, when it did.
async fn look(place: &Place) -> (Vec<Component>, Option<Exit>) {
    let mut found = vec![part("octoctl", Standing::Ok, Some(OWN.to_owned()), way(&place.way), None)];
    if let Way::Socket(socket) = &place.way {
        found.push(socket_part(socket));
    }
    let asked = async { Client::new(place)?.get::<Status>("/status").await };
    match asked.await {
        Ok(status) => {
            if status.version != OWN {
                let hint = "install octo and octoctl of one version (./setup.sh does)";
                found.push(part(
                    "versions",
                    Standing::Note,
                    None,
                    format!("octo is {} and octoctl {OWN}", status.version),
                    Some(hint.to_owned()),
                ));
            }
            found.extend(status.components);
            for trouble in status.trouble {
                found.push(part(&trouble.what, Standing::Bad, None, trouble.sentence, None));
            }
        }
        Err(failure) => {
            let down = failure.exit == Exit::Down;
            let hint = if down { "start it with `octo serve`; its log says why it ended" } else { "mend that first, and ask again" };
            found.push(part("octo", Standing::Bad, None, failure.message.clone(), Some(hint.to_owned())));
            if let Some(failed) = place.failed_start.as_ref().filter(|_| down) {
                let text = format!("failed {} ago: {}", show::age(failed.at), failed.error);
                let hint = format!("mend that, then `octo serve`; it reads {}", failed.config_file);
                found.push(part("last start", Standing::Bad, Some(failed.version.clone()), text, Some(hint)));
            }
            if let Some(door) = place.door.as_ref().filter(|_| down) {
                found.extend(from_outside(door).await);
            }
            return (found, Some(failure.exit));
        }
    }
    (found, None)
}

fn end(found: &[Component], output: Output, exit: Option<Exit>) -> Result<(), Failure> {
    output.say(&parts(found, output), &json!({ "version": OWN, "components": found }));
    let bad = found.iter().filter(|part| part.standing == Standing::Bad).count() as u64;
    match (bad, exit) {
        (0, None) => Ok(()),
        (bad, exit) => {
            Err(Failure::new(exit.unwrap_or(Exit::Trouble), format!("{} wrong; the lines above say what to do", plural_is(bad))))
        }
    }
}

fn plural_is(count: u64) -> String {
    format!("{} {}", plural(count, "thing"), if count == 1 { "is" } else { "are" })
}

fn part(name: &str, standing: Standing, version: Option<String>, found: String, hint: Option<String>) -> Component {
    Component { name: name.to_owned(), standing, version, found, hint }
}

fn way(way: &Way) -> String {
    match way {
        Way::Socket(_) => "goes through the admin socket".to_owned(),
        Way::Http { url, token: Some(_) } => format!("goes to {url}, with a token"),
        Way::Http { url, token: None } => format!("goes to {url}, without a token"),
    }
}

fn socket_part(socket: &Path) -> Component {
    let name = "admin socket";
    let at = socket.display().to_string();
    match std::fs::metadata(socket) {
        Ok(meta) if meta.permissions().mode() & 0o007 != 0 => {
            let hint = "octo opens it to its user and its group alone; whoever changed that should change it back (chmod 0660)";
            part(name, Standing::Bad, None, format!("{at} is open to everybody"), Some(hint.to_owned()))
        }
        Ok(_) => part(name, Standing::Ok, None, at, None),
        Err(error) => part(name, Standing::Note, None, format!("{at}: {error}"), Some("octo makes it when it starts".to_owned())),
    }
}

/// What can be seen of an octo that is down.
async fn from_outside(door: &Door) -> Vec<Component> {
    let mut found = Vec::new();
    let config = Path::new(&door.config_file);
    let standing = if config.exists() { "is there" } else { "is absent: defaults hold" };
    let hint = "`octo doctor` reads it, and the store";
    found.push(part("configuration", Standing::Note, None, format!("{} {standing}", door.config_file), Some(hint.to_owned())));
    let logs = Path::new(&door.logs_dir);
    found.push(part("logs", if logs.is_dir() { Standing::Ok } else { Standing::Note }, None, door.logs_dir.clone(), None));
    for runner in runners::look(Path::new(&door.run_dir)).await {
        let name = format!("runner {}", runner.user);
        found.push(match (runner.running, runner.error) {
            (true, None) => {
                let text = format!("runs (pid {}), {}", runner.pid.unwrap_or_default(), plural(runner.sessions.len() as u64, "session"));
                part(&name, Standing::Ok, runner.software, text, None)
            }
            (true, Some(error)) => part(&name, Standing::Bad, None, error, Some(format!("look at its log in {}", door.logs_dir))),
            (false, error) => {
                part(&name, Standing::Note, None, error.unwrap_or_default(), Some("octo starts it when it is needed".to_owned()))
            }
        });
    }
    found
}
