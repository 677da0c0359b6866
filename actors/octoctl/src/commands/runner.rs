//! `octoctl runner`

use octo_protocol::admin::{Restarted, Runners, Upgraded};
use serde_json::json;

use super::{Asking, escaped};
use crate::arguments::Runner;
use crate::exit::Failure;
use crate::show::{self, Table};

pub async fn run(Asking { client, output }: &Asking, command: Runner) -> Result<(), Failure> {
    match command {
        Runner::List => {
            let found: Runners = client.get("/runners").await?;
            output.say(&table(&found), &found);
        }
        Runner::Restart { user } => {
            let done: Restarted = client.post(&format!("/runners/{}/restart", escaped(&user)), &json!({})).await?;
            let now = done.pid.map(|pid| format!("pid {pid}")).unwrap_or_default();
            let text = match done.pid_before {
                Some(before) => format!(
                    "the runner of {} was restarted ({now}; it was pid {before}); sessions resume with their next prompt",
                    done.what
                ),
                None => format!("the runner of {} did not run; it was started ({now})", done.what),
            };
            output.say(&text, &done);
        }
        Runner::Upgrade { user, binary } => {
            let body = binary.map_or_else(|| json!({}), |binary| json!({ "binary": binary }));
            let done: Upgraded = client.post(&format!("/runners/{}/upgrade", escaped(&user)), &body).await?;
            let Upgraded { user, pid, before, after, binary } = &done;
            output.say(&format!("the runner of {user} (pid {pid}) goes on as {after} ({binary}), with its agents; it was {before}"), &done);
        }
    }
    Ok(())
}

fn table(found: &Runners) -> String {
    let mut table = Table::new(&["RUNNER", "STATE", "PID", "SOFTWARE", "LINK", "UP", "SESSIONS"]);
    let dash = || "–".to_owned();
    for runner in &found.runners {
        let state = match (runner.running, runner.linked) {
            (true, true) => "linked",
            (true, false) => "runs",
            (false, _) => "off",
        };
        table.row(vec![
            runner.user.clone(),
            state.to_owned(),
            runner.pid.map_or_else(dash, |pid| pid.to_string()),
            runner.software.clone().unwrap_or_else(dash),
            runner.link.map_or_else(dash, |link| format!("v{link}")),
            runner.started_at.map_or_else(dash, show::age),
            runner.sessions.map_or_else(dash, |count| count.to_string()),
        ]);
    }
    table.text()
}
