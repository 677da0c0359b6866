//! `octoctl user`

use octo_protocol::admin::{AdminUser, AdminUsers, Slept};
use serde_json::json;

use super::{Asking, escaped};
use crate::arguments::User;
use crate::exit::Failure;
use crate::show::{self, Table, plural};

pub async fn run(Asking { client, output }: &Asking, command: User) -> Result<(), Failure> {
    match command {
        User::List => {
            let found: AdminUsers = client.get("/users").await?;
            output.say(&table(&found.users), &found);
        }
        User::Show { user } => {
            let found: AdminUser = client.get(&format!("/users/{}", escaped(&user))).await?;
            output.say(&one(&found), &found);
        }
        User::Sleep { user, force } => {
            let slept: Slept = client.post(&format!("/users/{}/sleep?force={force}", escaped(&user)), &json!({})).await?;
            let text = match (slept.was_awake, slept.connections) {
                (false, _) => format!("{} was asleep already", slept.user),
                (true, 0) => format!("{} is asleep; its runner and agents go on", slept.user),
                (true, count) => {
                    format!(
                        "{} is asleep, {} closed; its runner and agents go on, and clients that come back wake it",
                        slept.user,
                        plural(count, "connection")
                    )
                }
            };
            output.say(&text, &slept);
        }
    }
    Ok(())
}

fn table(users: &[AdminUser]) -> String {
    let mut table = Table::new(&["USER", "NAME", "ROLE", "ACTIVE", "AWAKE", "CONNECTIONS", "FOLLOWED", "LAST LOG IN"]);
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    for user in users {
        table.row(vec![
            user.id.clone(),
            show::short(&user.username, 32),
            user.role.clone(),
            word(user.is_active),
            word(user.awake),
            user.connections.to_string(),
            user.followed.to_string(),
            user.last_login_at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", show::age(at))),
        ]);
    }
    table.text()
}

fn one(user: &AdminUser) -> String {
    let awake = if user.awake { "awake" } else { "asleep" };
    [
        format!("user      {}", user.id),
        format!("logs in   as {}", show::short(&user.username, 100)),
        format!("name      {}", show::short(&user.display_name, 100)),
        format!("role      {}{}", user.role, if user.is_active { "" } else { ", and may not log in" }),
        format!("created   {}", show::at(user.created_at)),
        format!("last      {}", user.last_login_at.map_or_else(|| "never logged in".to_owned(), show::at)),
        format!("actors    {awake}, {}, {} followed", plural(user.connections, "connection"), plural(user.followed, "session")),
    ]
    .join("\n")
}
