//! `octoctl actor top`: actors by what they do, one look for scripts or a screen that keeps looking.

mod look;
mod screen;

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::json;

use crate::arguments::Top;
use crate::commands::{Asking, actor};
use crate::exit::{Exit, Failure};

pub use look::{Busy, Look};

/// Looks, as often as was asked.
///
/// # Errors
/// octo's refusals; `Usage` when there is no terminal to draw on.
pub async fn run(asking: &Asking, top: Top) -> Result<(), Failure> {
    let interval = Duration::from_secs(top.interval);
    if top.once {
        let first = actor::below(asking, &top.below.path).await?;
        tokio::time::sleep(interval).await;
        let second = actor::below(asking, &top.below.path).await?;
        let look = Look::between(Some(&first), second, top.sort);
        let rows: Vec<&Busy> = look.rows.iter().take(top.rows).collect();
        asking.output.say(&look.table(top.rows), &json!({ "at": look.at, "actors": look.rows.len(), "rate": look.rate, "rows": rows }));
        return Ok(());
    }
    if asking.output.is_json() || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "`octoctl actor top` draws on a terminal, and this is none: --once prints one look"));
    }
    screen::run(asking, &top, interval).await
}
