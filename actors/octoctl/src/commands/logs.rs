//! `octoctl logs`

use std::time::Duration;

use octo_protocol::admin::{LogFiles, LogText};

use super::{Asking, escaped};
use crate::arguments::Logs;
use crate::exit::Failure;
use crate::show::{self, Table};
use serde_json::{Map, Value};
use std::borrow::Cow;

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
            text.lines.iter().all(|line| {
                output.line(&readable(line).chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect::<String>())
            })
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

/// A line that was written for programs as one for people; any other as it is.
fn readable(line: &str) -> Cow<'_, str> {
    let object = line.starts_with('{').then(|| serde_json::from_str::<Map<String, Value>>(line).ok()).flatten();
    let Some(mut object) = object else { return line.into() };
    let mut take = |name: &str| match object.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (Some(time), Some(level)) = (take("timestamp"), take("level")) else { return line.into() };
    let (target, message) = (take("target").unwrap_or_default(), take("message").unwrap_or_default());
    let mut text = format!("{time} {level:>5} {target}: {message}");
    for (name, value) in object {
        match value {
            Value::Object(span) => text.extend(span.iter().map(|(name, value)| format!(" {name}={value}"))),
            value => text.push_str(&format!(" {name}={value}")),
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_programs_is_shown_for_people_and_any_other_as_it_is() {
        let line = r#"{"timestamp":"2026-11-30T13:15:00Z","level":"INFO","message":"runner linked","user":"admin","pid":7,"target":"octo::users","span":{"name":"request","path":"/x"}}"#;
        let text = readable(line);
        assert!(text.starts_with("2026-11-30T13:15:00Z  INFO octo::users: runner linked "), "{text}");
        assert!(text.contains(" user=\"admin\"") && text.contains(" pid=7") && text.contains(" path=\"/x\""), "{text}");
        for other in ["2026-11-30T13:15:00Z  INFO octo: serving", "{}", "{\"a\":", ""] {
            assert_eq!(readable(other), other);
        }
    }
}
