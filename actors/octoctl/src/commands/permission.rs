//! `octoctl permission`

use octo_protocol::PermissionMode;
use octo_protocol::permission::{PermissionPolicy, Permissions};
use serde_json::json;

use super::{Asking, escaped};
use crate::arguments::Permission;
use crate::exit::Failure;
use crate::show::{self, Table};

pub async fn run(Asking { client, output }: &Asking, command: Permission) -> Result<(), Failure> {
    match command {
        Permission::List { user } => {
            let found: Permissions = client.get(&format!("/users/{}/permissions", escaped(&user))).await?;
            output.say(&format!("{}\n\n{}", policy(&found.policy), table(&found)), &found);
        }
        Permission::Remove { user, rule } => {
            client.delete(&format!("/users/{}/permissions/{}", escaped(&user), escaped(&rule))).await?;
            output.say(&format!("the rule {} is forgotten", show::short(&rule, 64)), &json!({ "user": user, "removed": rule }));
        }
    }
    Ok(())
}

fn policy(policy: &PermissionPolicy) -> String {
    let tools: Vec<String> = policy.tools.iter().map(|(tool, mode)| format!("{} {}", show::short(tool, 32), mode.as_str())).collect();
    let timeout = match policy.timeout_ms {
        Some(ms) => format!("after {} s it is {}", ms / 1000, policy.on_timeout.as_str()),
        None => "a question waits for ever".to_owned(),
    };
    let tools = if tools.is_empty() { "none by name".to_owned() } else { tools.join(", ") };
    format!(
        "default   {}\ntools     {tools}\nunanswered {timeout}",
        policy.default.map_or("as each agent has it: allow for pi, ask for those with rules of their own", PermissionMode::as_str)
    )
}

fn table(found: &Permissions) -> String {
    if found.rules.is_empty() {
        return "no rules are remembered".to_owned();
    }
    let mut table = Table::new(&["RULE", "MODE", "TOOL", "FOLDER", "SUBJECT", "USES", "LAST USED"]);
    let any = |text: &Option<String>, most| text.as_ref().map_or_else(|| "any".to_owned(), |text| show::short(text, most));
    for rule in &found.rules {
        table.row(vec![
            rule.id.clone(),
            rule.mode.as_str().to_owned(),
            any(&rule.tool, 24),
            any(&rule.workspace, 40),
            any(&rule.subject, 60),
            rule.uses.to_string(),
            rule.last_used_at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", show::age(at))),
        ]);
    }
    table.text()
}
