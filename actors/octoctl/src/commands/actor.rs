//! `octoctl actor`

use std::time::Duration;

use octo_protocol::admin::{Actors, Inspection, Outcome, Restarted, TraceLine};
use octo_protocol::mux::system::ActorRow;
use serde_json::json;
use tokio::time::Instant;

use super::{Asking, escaped, tell_left_out};
use crate::arguments::{Actor, Below, Trace};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::show::{self, Table};
use crate::top;

pub async fn run(asking: &Asking, command: Actor) -> Result<(), Failure> {
    let Asking { client, output } = asking;
    match command {
        Actor::Tree(Below { path }) => {
            let actors = below(asking, &path).await?;
            output.say(&show::tree(&path, &actors.rows, *output), &actors);
            Ok(())
        }
        Actor::List(Below { path }) => {
            let actors = below(asking, &path).await?;
            output.say(&list(&actors.rows, *output), &actors);
            Ok(())
        }
        Actor::Inspect { path } => {
            let seen: Inspection = client.get(&format!("/actors/inspect?path={}", escaped(&path))).await?;
            output.say(&inspection(&seen, *output), &seen);
            Ok(())
        }
        Actor::Restart { path } => {
            let done: Restarted = client.post("/actors/restart", &json!({ "path": path })).await?;
            output.say(&format!("{} was restarted", done.what), &done);
            Ok(())
        }
        Actor::Trace(trace) => follow(asking, trace).await,
        Actor::Top(arguments) => top::run(asking, arguments).await,
    }
}

/// The rows at a path and below; what is left out is told.
pub async fn below(Asking { client, output }: &Asking, path: &str) -> Result<Actors, Failure> {
    let actors: Actors = client.get(&format!("/actors?path={}", escaped(path))).await?;
    tell_left_out(*output, &actors.left_out);
    Ok(actors)
}

fn list(rows: &[ActorRow], output: Output) -> String {
    let mut table = Table::new(&["PATH", "KIND", "STATE", "MAILBOX", "HANDLED", "RESTARTS", "AGE", ""]);
    for row in rows {
        table.row(vec![
            row.path.clone(),
            row.kind.clone(),
            output.state(&row.state),
            show::mailbox(row),
            row.processed.to_string(),
            row.restarts.to_string(),
            show::age(row.started_at),
            show::remark(row),
        ]);
    }
    table.text()
}

fn inspection(Inspection { row, snapshot, age_ms, .. }: &Inspection, output: Output) -> String {
    let mut lines = vec![
        format!("path      {}", row.path),
        format!("kind      {}", row.kind),
        format!("state     {}", output.state(&row.state)),
        format!("started   {} ({} ago)", show::at(row.started_at), show::age(row.started_at)),
        format!("restarts  {}", row.restarts),
        format!("mailbox   {}", show::mailbox(row)),
        format!("handled   {}", row.processed),
    ];
    if let (Some(ms), Some(message)) = (row.busy_ms, &row.busy_with) {
        lines.push(format!("inside    {message}, for {}", show::millis(ms)));
    }
    if let Some(trouble) = &row.trouble {
        lines.push(format!("trouble   {}", show::in_line(trouble)));
    }
    if let Some(error) = &row.last_error {
        lines.push(format!("error     {error}"));
    }
    match age_ms {
        None => lines.push("it has not said anything of itself yet".to_owned()),
        Some(age) => {
            lines.push(format!("said of itself {} ago:", show::millis(*age)));
            lines.push(serde_json::to_string_pretty(snapshot).unwrap_or_default());
        }
    }
    lines.join("\n")
}

async fn follow(Asking { client, output }: &Asking, Trace { below, limit, seconds }: Trace) -> Result<(), Failure> {
    let mut lines = client.lines(&format!("/actors/trace?path={}", escaped(&below.path))).await?;
    // Longer than anybody waits.
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(10 * 365 * 24 * 3600));
    let (mut seen, mut dropped, mut lost) = (0u64, 0u64, None);
    while limit.is_none_or(|limit| seen < limit) {
        let Ok(line) = tokio::time::timeout_at(until, lines.next::<TraceLine>()).await else { break };
        let Some(line) = line? else {
            return Err(Failure::new(Exit::Down, "octo ended the trace: it is stopping"));
        };
        let reads = match &line {
            TraceLine::Quiet => true,
            TraceLine::Message(message) => {
                seen += 1;
                let queued = message.queued_us.map_or_else(|| "–".to_owned(), show::micros);
                let outcome = match message.outcome {
                    Outcome::Ok => "ok",
                    Outcome::Failed => "failed",
                    Outcome::Panicked => "panicked",
                    Outcome::Killed => "killed",
                };
                let handled = show::micros(message.handled_us);
                output
                    .say(&format!("waited {queued:>8}  took {handled:>8}  {outcome:<8}  {:<16}  {}", message.message, message.path), &line)
            }
            TraceLine::Dropped(all) => {
                dropped = *all;
                output.say(&format!("{all} messages were lost so far: they come faster than they are read"), &line)
            }
            TraceLine::Lost(left) => {
                lost = Some(left.path.clone());
                output.say(&format!("{} is not traced: {}", left.path, left.reason), &line)
            }
        };
        if !reads {
            return Ok(());
        }
    }
    let missing = lost.map(|path| format!("; {path} is not among them")).unwrap_or_default();
    output.note(&format!("{}, {dropped} lost{missing}", show::plural(seen, "message")));
    Ok(())
}
