//! What goes in, part by part. What cannot be had is named; nothing of it stops the rest.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use octo_protocol::admin::{Actors, Component, Door, Inspection, JournalReport, LogFiles, LogText, Runners, ShownConfig, Status};
use octo_protocol::mux::system::ActorRow;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::configuration::{hidden, of_file};
use super::{Bundle, machine};
use crate::client::Client;
use crate::commands::escaped;
use crate::exit::Failure;
use crate::place::{Place, Way};
use crate::runners;

/// Lines of each log, the newest.
const LOG_LINES: usize = 1000;
/// Bytes of a log that is read without octo.
const LOG_BYTES: u64 = 1024 * 1024;
/// Logs; further ones are named as missing.
const MAX_LOGS: usize = 64;
/// Snapshots of actors that are not well; further ones are in the list of actors alone.
const MAX_SNAPSHOTS: usize = 64;
/// Journals that are checked: each is read as a whole.
const MAX_JOURNALS: usize = 16;
/// Bytes of the configuration file.
const CONFIG_BYTES: u64 = 1024 * 1024;
/// States of an actor of which somebody wants to know more.
const UNWELL: [&str; 5] = ["stuck", "degraded", "restarting", "starting", "stopping"];

/// Everything.
///
/// # Errors
/// Only when the bundle itself cannot be written.
pub async fn all(bundle: &mut Bundle, place: &Place, found: &[Component], up: bool) -> Result<(), Failure> {
    bundle.json("doctor.json", &json!({ "octoctl": env!("CARGO_PKG_VERSION"), "at": crate::show::now_ms(), "components": found }))?;
    match place.way {
        Way::Socket(_) => bundle.text("machine.txt", &machine::facts())?,
        Way::Http { .. } => bundle.missing("machine.txt", "octoctl goes over HTTP, so this is another machine; make one there as well"),
    }
    match Client::new(place) {
        Ok(client) if up => of_octo(bundle, &client).await,
        Ok(_) => without(bundle, place, "octo does not answer as it should").await,
        Err(failure) => without(bundle, place, &failure.message).await,
    }
}

async fn of_octo(bundle: &mut Bundle, client: &Client) -> Result<(), Failure> {
    ask::<Status>(bundle, client, "status.json", "/status").await?;
    if let Some(config) = ask::<ShownConfig>(bundle, client, "config.json", "/config").await? {
        bundle.masked = hidden(&config.keys);
    }
    let runners = ask::<Runners>(bundle, client, "runners.json", "/runners").await?;
    if let Some(actors) = ask::<Actors>(bundle, client, "actors.json", "/actors").await? {
        snapshots(bundle, client, &actors).await?;
    }
    match client.metrics().await {
        Ok(text) => bundle.text("metrics.txt", &text)?,
        Err(failure) => bundle.missing("metrics.txt", failure.message),
    }
    logs(bundle, client).await?;
    let linked = runners.iter().flat_map(|runners| &runners.runners).filter(|runner| runner.linked);
    let users: Vec<String> = linked.map(|runner| runner.user.clone()).collect();
    // A user who is asleep would be woken by it.
    for user in users.iter().take(MAX_JOURNALS) {
        let name = format!("journals/{user}.json");
        match client.post::<JournalReport>(&format!("/runners/{}/journal/verify", escaped(user)), &json!({})).await {
            Ok(report) => bundle.json(&name, &report)?,
            Err(failure) => bundle.missing(&name, failure.message),
        }
    }
    if users.len() > MAX_JOURNALS {
        bundle.missing("journals", format!("{} further journals were not checked", users.len() - MAX_JOURNALS));
    }
    Ok(())
}

async fn ask<T: DeserializeOwned + serde::Serialize>(
    bundle: &mut Bundle,
    client: &Client,
    name: &str,
    path: &str,
) -> Result<Option<T>, Failure> {
    match client.get::<T>(path).await {
        Ok(answer) => {
            bundle.json(name, &answer)?;
            Ok(Some(answer))
        }
        Err(failure) => {
            bundle.missing(name, failure.message);
            Ok(None)
        }
    }
}

async fn snapshots(bundle: &mut Bundle, client: &Client, actors: &Actors) -> Result<(), Failure> {
    let is_unwell = |row: &&ActorRow| row.trouble.is_some() || UNWELL.contains(&row.state.as_str());
    let unwell: Vec<&str> = actors.rows.iter().filter(is_unwell).map(|row| row.path.as_str()).collect();
    for (number, path) in unwell.iter().take(MAX_SNAPSHOTS).enumerate() {
        let name = format!("snapshots/{}.json", number + 1);
        match client.get::<Inspection>(&format!("/actors/inspect?path={}", escaped(path))).await {
            Ok(seen) => bundle.json(&name, &seen)?,
            Err(failure) => bundle.missing(&name, format!("{path}: {}", failure.message)),
        }
    }
    if unwell.len() > MAX_SNAPSHOTS {
        bundle.missing("snapshots", format!("those of {} further actors; actors.json names them", unwell.len() - MAX_SNAPSHOTS));
    }
    Ok(())
}

async fn logs(bundle: &mut Bundle, client: &Client) -> Result<(), Failure> {
    let listed = match client.get::<LogFiles>("/logs").await {
        Ok(listed) => listed.files,
        Err(failure) => {
            bundle.missing("logs", failure.message);
            return Ok(());
        }
    };
    for file in listed.iter().take(MAX_LOGS) {
        let name = format!("logs/{}.log", file.name);
        match client.get::<LogText>(&format!("/logs/{}?lines={LOG_LINES}", escaped(&file.name))).await {
            Ok(text) => log(bundle, &name, text.lines.iter().map(String::as_str))?,
            Err(failure) => bundle.missing(&name, failure.message),
        }
    }
    if listed.len() > MAX_LOGS {
        bundle.missing("logs", format!("{} further ones", listed.len() - MAX_LOGS));
    }
    if !listed.iter().any(|file| file.name == "octo") {
        bundle.missing(
            "logs/octo.log",
            "octo logs to its standard error; the service manager has it (journalctl -u octo), or set logging.file",
        );
    }
    Ok(())
}

/// What can be had when octo is down: from its own note, the files it names, and the runners' sockets.
async fn without(bundle: &mut Bundle, place: &Place, reason: &str) -> Result<(), Failure> {
    for part in ["status.json", "actors.json", "snapshots", "metrics.txt", "journals"] {
        bundle.missing(part, reason);
    }
    let Some(door) = &place.door else {
        for part in ["config.json", "runners.json", "logs"] {
            bundle.missing(part, "octo left no note here where its things are");
        }
        return Ok(());
    };
    let seen = runners::look(Path::new(&door.run_dir)).await;
    // Titles of sessions are somebody's words: they are not taken along.
    let rows: Vec<Value> = seen
        .iter()
        .map(|runner| {
            json!({
                "user": runner.user, "running": runner.running, "pid": runner.pid, "software": runner.software,
                "started_at": runner.started_at, "sessions": runner.sessions.len(), "error": runner.error,
            })
        })
        .collect();
    bundle.json("runners.json", &json!({ "server": "down", "runners": rows }))?;
    config_file(bundle, door)?;
    log_files(bundle, door)
}

fn config_file(bundle: &mut Bundle, door: &Door) -> Result<(), Failure> {
    let mut text = String::new();
    let read = std::fs::File::open(&door.config_file).and_then(|file| file.take(CONFIG_BYTES).read_to_string(&mut text));
    let keys = match read {
        Ok(_) => of_file(&text, &door.config_file),
        Err(error) => Err(error.to_string()),
    };
    match keys {
        Ok(keys) => {
            bundle.masked = hidden(&keys);
            bundle.json("config.json", &ShownConfig { file: door.config_file.clone(), keys })
        }
        Err(reason) => {
            bundle.missing("config.json", format!("{}: {reason}", door.config_file));
            Ok(())
        }
    }
}

fn log_files(bundle: &mut Bundle, door: &Door) -> Result<(), Failure> {
    let mut paths: Vec<_> = std::fs::read_dir(&door.logs_dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && path.extension().is_some_and(|end| end == "log"))
        .collect();
    paths.sort();
    if paths.is_empty() {
        bundle.missing("logs", format!("there are none in {}", door.logs_dir));
    }
    for path in paths.iter().take(MAX_LOGS) {
        let name = format!("logs/{}", path.file_name().unwrap_or_default().to_string_lossy());
        match end_of(path) {
            Ok(text) => {
                let mut newest: VecDeque<&str> = VecDeque::with_capacity(LOG_LINES);
                for line in text.lines() {
                    if newest.len() == LOG_LINES {
                        newest.pop_front();
                    }
                    newest.push_back(line);
                }
                log(bundle, &name, newest.into_iter())?;
            }
            Err(error) => bundle.missing(&name, error.to_string()),
        }
    }
    Ok(())
}

fn log<'a>(bundle: &mut Bundle, name: &str, lines: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let text = bundle.scrub.log(lines);
    bundle.archive.add(name, text.as_bytes())
}

fn end_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(end.saturating_sub(LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
