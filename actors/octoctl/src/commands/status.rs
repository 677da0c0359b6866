//! `octoctl status`

use octo_protocol::admin::{Component, Standing, Status};

use super::Asking;
use crate::exit::Failure;
use crate::output::Output;
use crate::show::{self, Table, plural};

pub async fn run(Asking { client, output }: &Asking) -> Result<(), Failure> {
    let status: Status = client.get("/status").await?;
    output.say(&text(&status, *output), &status);
    Ok(())
}

fn text(status: &Status, output: Output) -> String {
    let Status { version, pid, started_at, accounts, users_awake, connections, sessions, actors, components, trouble } = status;
    let some = |counts: &std::collections::BTreeMap<String, u64>| if counts.is_empty() { "none".to_owned() } else { show::counted(counts) };
    let mut lines = vec![
        format!("octo {version} runs (pid {pid}, for {})", show::age(*started_at)),
        format!("  users     {}, {users_awake} awake, {}", plural(*accounts, "account"), plural(*connections, "connection")),
        format!("  sessions  {}", some(sessions)),
        format!("  actors    {}", some(actors)),
        String::new(),
        parts(components, output),
    ];
    if !trouble.is_empty() {
        lines.push(String::new());
    }
    lines.extend(
        trouble.iter().map(|trouble| format!("{} {}: {}", output.mark(Standing::Bad), trouble.what, show::in_line(&trouble.sentence))),
    );
    lines.join("\n")
}

/// Parts with their versions, and below each what to do.
pub(super) fn parts(components: &[Component], output: Output) -> String {
    let mut table = Table::new(&["  PART", "VERSION", "FOUND"]);
    for part in components {
        let name = format!("{} {}", output.mark(part.standing), part.name);
        table.row(vec![name, part.version.clone().unwrap_or_else(|| "–".to_owned()), show::in_line(&part.found)]);
    }
    let mut lines = table.text().lines().map(str::to_owned).collect::<Vec<_>>();
    // From below, so that the places above stay what they are.
    for (place, part) in components.iter().enumerate().rev() {
        if let Some(hint) = &part.hint {
            lines.insert(place + 2, format!("    → {hint}"));
        }
    }
    lines.join("\n")
}
