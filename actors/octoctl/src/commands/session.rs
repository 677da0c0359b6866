//! `octoctl session`

use octo_protocol::SessionSummary;
use octo_protocol::admin::AdminSessions;
use serde_json::{Value, json};

use super::{Asking, escaped, tell_left_out};
use crate::arguments::{Session, SessionName};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::runners::Seen;
use crate::show::{self, Table};

/// Characters of a title that stand in a table.
const TITLE_CHARS: usize = 40;

pub async fn run(asking: &Asking, command: Session) -> Result<(), Failure> {
    let Asking { client, output } = asking;
    match command {
        Session::List { user } => {
            let query = user.map(|user| format!("?user={}", escaped(&user))).unwrap_or_default();
            let found: AdminSessions = client.get(&format!("/sessions{query}")).await?;
            tell_left_out(*output, &found.left_out);
            let rows = found.sessions.iter().map(|row| (row.user.as_str(), &row.session));
            output.say(&table(rows, *output), &found);
            Ok(())
        }
        Session::Show(name) => {
            let name = resolve(asking, name).await?;
            let found: Value = client.get(&format!("/sessions/{}", name.path())).await?;
            output.say(&show_one(&name, &found, *output), &found);
            Ok(())
        }
        Session::Stop(name) => act(asking, name, "stop", "stopped; its next prompt starts it again").await,
        Session::Restart(name) => act(asking, name, "restart", "restarted, with its conversation").await,
        Session::Delete { name, yes } => {
            let name = resolve(asking, name).await?;
            if !yes {
                let message = format!("{name} would be gone for good, with its history: say --yes if that is wanted");
                return Err(Failure::new(Exit::Refused, message));
            }
            client.delete(&format!("/sessions/{}", name.path())).await?;
            output.say(&format!("{name} is deleted"), &json!({ "user": name.user, "session_id": name.id, "done": "delete" }));
            Ok(())
        }
    }
}

async fn act(asking: &Asking, name: SessionName, verb: &str, done: &str) -> Result<(), Failure> {
    let name = resolve(asking, name).await?;
    asking.client.post::<Value>(&format!("/sessions/{}/{verb}", name.path()), &json!({})).await?;
    asking.output.say(&format!("{name} is {done}"), &json!({ "user": name.user, "session_id": name.id, "done": verb }));
    Ok(())
}

/// Whose session.
pub struct Named {
    user: String,
    id: String,
}

impl Named {
    /// As a path below `/sessions`.
    pub fn path(&self) -> String {
        format!("{}/{}", escaped(&self.user), escaped(&self.id))
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.user, self.id)
    }
}

/// `USER/ID` as it is; an id alone is looked for among all users.
pub async fn resolve(Asking { client, .. }: &Asking, SessionName { session }: SessionName) -> Result<Named, Failure> {
    if let Some((user, id)) = session.split_once('/') {
        return Ok(Named { user: user.to_owned(), id: id.to_owned() });
    }
    let all: AdminSessions = client.get("/sessions").await?;
    let mut found = all.sessions.iter().filter(|row| row.session.session_id == session);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(Named { user: one.user.clone(), id: session }),
        (Some(one), Some(other)) => {
            let message = format!("several users have a session {session}: say {}/{session} or {}/{session}", one.user, other.user);
            Err(Failure::new(Exit::Usage, message))
        }
        (None, _) => {
            let silent = match all.left_out.len() as u64 {
                0 => String::new(),
                count => format!("; {} could not be asked", show::plural(count, "user")),
            };
            Err(Failure::new(Exit::NotFound, format!("there is no session {session}{silent}; `octoctl session list` shows all")))
        }
    }
}

fn table<'a>(rows: impl Iterator<Item = (&'a str, &'a SessionSummary)>, output: Output) -> String {
    let mut table = Table::new(&["SESSION", "STATE", "AGENT", "MODEL", "EVENTS", "WATCHED", "USED", "TITLE"]);
    let mut count = 0;
    for (user, session) in rows {
        count += 1;
        table.row(vec![
            format!("{user}/{}", session.session_id),
            output.state(&show::word(&session.state)),
            session.pid.map_or_else(|| session.harness.clone(), |pid| format!("{} {pid}", session.harness)),
            session.model.clone().unwrap_or_default(),
            session.seq.to_string(),
            session.subscriber_count.to_string(),
            show::age(session.last_activity),
            show::short(session.title.as_deref().unwrap_or_default(), TITLE_CHARS),
        ]);
    }
    if count == 0 { "there are no sessions".to_owned() } else { table.text() }
}

/// The sessions that runners tell of themselves.
pub fn of_runners(seen: &[Seen], user: Option<&str>) -> String {
    let runners = seen.iter().filter(|runner| user.is_none_or(|user| runner.user == user));
    table(runners.flat_map(|runner| runner.sessions.iter().map(|session| (runner.user.as_str(), session))), Output::new(false))
}

fn show_one(name: &Named, found: &Value, output: Output) -> String {
    let Ok(session) = serde_json::from_value::<SessionSummary>(found["session"].clone()) else { return found.to_string() };
    let detail = serde_json::to_string_pretty(&found["detail"]).unwrap_or_default();
    let (provider, model) = (session.provider.unwrap_or_default(), session.model.unwrap_or_default());
    let mut lines = vec![
        format!("session   {name}"),
        format!("state     {}", output.state(&show::word(&session.state))),
        format!("agent     {}, {}", session.harness, session.pid.map_or_else(|| "asleep".to_owned(), |pid| format!("pid {pid}"))),
        format!("model     {provider}/{model}"),
        format!("folder    {}", session.cwd),
        format!("created   {}", show::at(session.created_at)),
        format!("used      {} ({} ago)", show::at(session.last_activity), show::age(session.last_activity)),
        format!("events    {} in epoch {}", session.seq, session.epoch),
        format!("messages  {}", session.message_count),
        format!("watched   {}", show::plural(u64::from(session.subscriber_count), "connection")),
    ];
    if let Some(title) = &session.title {
        lines.push(format!("title     {}", show::short(title, 100)));
    }
    lines.push(format!("its clients see:\n{detail}"));
    lines.join("\n")
}
