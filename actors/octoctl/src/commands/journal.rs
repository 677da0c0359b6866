//! `octoctl journal`

use octo_protocol::admin::JournalReport;
use serde_json::json;

use super::{Asking, escaped};
use crate::arguments::Journal;
use crate::exit::{Exit, Failure};
use crate::show::{self, plural};

pub async fn run(Asking { client, output }: &Asking, command: Journal) -> Result<(), Failure> {
    let Journal::Verify { user } = command;
    output.note(&format!("reading the whole journal of {user}"));
    let report: JournalReport = client.post(&format!("/runners/{}/journal/verify", escaped(&user)), &json!({})).await?;
    output.say(&text(&report), &report);
    if report.is_whole() {
        return Ok(());
    }
    let message = format!(
        "the journal of {user} is not as it was written: keep a copy of {} and its companions, and restore it from a backup",
        report.path
    );
    Err(Failure::new(Exit::Trouble, message))
}

fn text(report: &JournalReport) -> String {
    let mut lines = vec![
        format!("{} (schema {}, {})", report.path, report.schema, show::bytes(report.bytes)),
        format!("  {}, {}, read in {}", plural(report.sessions, "session"), plural(report.events, "event"), show::millis(report.took_ms)),
    ];
    if report.unsummed > 0 {
        lines.push(format!("  {} of them from before there were checksums: they cannot be checked", report.unsummed));
    }
    if report.is_whole() {
        lines.push("  every row is as it was written, every session is whole, and so is the file".to_owned());
    }
    if report.damaged > 0 {
        lines.push(format!("  {} damaged:", plural(report.damaged, "row")));
        let of = |session: &Option<String>| session.clone().unwrap_or_else(|| "a session that is not there any more".to_owned());
        lines.extend(report.rows.iter().map(|row| format!("    event {} of {}", row.seq, of(&row.session))));
    }
    lines.extend(report.beyond_head.iter().map(|session| format!("  {session} has events beyond its newest number")));
    lines.extend(report.structure.iter().map(|finding| format!("  SQLite says: {finding}")));
    lines.join("\n")
}
