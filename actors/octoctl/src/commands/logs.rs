//! `octoctl logs`

use std::time::Duration;

use octo_protocol::admin::{LogFiles, LogText};

use super::{Asking, escaped};
use crate::arguments::Logs;
use crate::exit::Failure;
use crate::show::{self, Table};

/// How often a log that is followed is looked at.
const EVERY: Duration = Duration::from_millis(500);

pub async fn run(Asking { client, output }: &Asking, Logs { name, lines, follow }: Logs) -> Result<(), Failure> {
    let Some(name) = name else {
        let found: LogFiles = client.get("/logs").await?;
        let mut table = Table::new(&["LOG", "SIZE", "WRITTEN", "FILE"]);
        for file in &found.files {
            table.row(vec![file.name.clone(), show::bytes(file.bytes), format!("{} ago", show::age(file.changed_at)), file.path.clone()]);
        }
        output.say(&table.text(), &found);
        return Ok(());
    };
    let path = format!("/logs/{}", escaped(&name));
    let mut text: LogText = client.get(&format!("{path}?lines={lines}")).await?;
    loop {
        // As a program wrote them; what could move the cursor is not let through.
        let reads = if output.is_json() {
            output.say("", &text)
        } else {
            text.lines
                .iter()
                .all(|line| output.line(&line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect::<String>()))
        };
        if !follow || !reads {
            return Ok(());
        }
        let mut next = text.next;
        text = loop {
            tokio::time::sleep(EVERY).await;
            let more: LogText = client.get(&format!("{path}?after={next}")).await?;
            if !more.lines.is_empty() {
                break more;
            }
            next = more.next;
        };
    }
}
