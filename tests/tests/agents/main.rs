//! What works with which agent: one scenario a row, played by each real agent on the demo model through octo's WebSocket.
//!
//! The rows below are the table in `docs/agents.md`: [`table`] holds it to them, so a cell cannot say what no test shows. pi 0.73.1 is installed beside the
//! tests' own agents by `./test.sh` (`tests/agents/pi-0.73`). What is particular to one agent is in `tests/pi` and `tests/claude.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod compaction;
mod endings;
mod forks;
mod permissions;
mod prompts;
mod queue;
mod scene;
mod settings;
mod shell;
mod stops;
mod table;

pub use scene::{Agent, Scene};

/// What is expected of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// The scenario succeeds.
    Works,
    /// It is absent from the session's capabilities, and answered `unsupported`.
    Unsupported,
    /// It succeeds with a difference, which the scenario checks.
    But(&'static str),
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    pub title: &'static str,
    pub cells: [Cell; 3],
}

use Cell::{But, Unsupported, Works};

/// Makes of each row a test for each agent, and a row of the table.
macro_rules! rows {
    ($($room:ident :: $name:ident, $title:literal, [$old:expr, $now:expr, $claude:expr];)*) => {
        /// The table.
        pub const ROWS: &[Row] = &[$(Row { title: $title, cells: [$old, $now, $claude] }),*];
        rows!(of pi_0_73, PiOld, $($room $name $old,)*);
        rows!(of pi_0_87, PiNow, $($room $name $now,)*);
        rows!(of claude_2_1, Claude, $($room $name $claude,)*);
    };
    (of $agent:ident, $which:ident, $($room:ident $name:ident $cell:expr,)*) => {
        mod $agent {
            use crate::Cell::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                crate::$room::$name(crate::Agent::$which, $cell).await;
            })*
        }
    };
}

rows! {
    prompts::prompt, "prompt, the answer in a stream", [Works, Works, Works];
    prompts::tool, "a tool really run", [Works, Works, Works];
    prompts::thinking, "thinking", [Works, Works, Works];
    prompts::image, "image in the prompt", [Works, Works, Works];
    permissions::allowed, "permission, allowed once", [Works, Works, Works];
    permissions::denied, "permission, denied with a reason", [Works, Works, Works];
    permissions::always, "permission, for always", [Works, Works, Works];
    permissions::question, "question, answered on another device", [Works, Works, Works];
    stops::in_stream, "abort in the stream", [Works, Works, Works];
    stops::in_tool, "abort in a tool", [Works, Works, Works];
    queue::steer, "steer, into the turn", [Works, Works, Works];
    queue::follow_up, "follow-up, after it", [Works, Works, Works];
    queue::edit, "a waiting follow-up replaced, and dropped", [Works, Works, Works];
    queue::steer_dropped, "a waiting steering message dropped", [Unsupported, Works, Unsupported];
    settings::model, "another model", [Works, Works, Works];
    settings::thinking_level, "another thinking level", [Works, Works, Works];
    settings::name, "a name for the session", [Works, Works, Works];
    settings::commands, "its commands and skills listed", [Works, Works, Works];
    settings::switches, "automatic compaction and retry, switched", [Works, Works, Unsupported];
    shell::shell, "a person's own command, in the agent's place", [Works, Works, Unsupported];
    shell::export, "the conversation as HTML", [Works, Works, Unsupported];
    compaction::compact, "compaction", [Works, Works, Works];
    endings::retry, "provider fails, tried again", [But("yes, without a word of it"), Works, Works];
    endings::error, "provider refuses, said as an error", [Works, Works, Works];
    forks::fork, "fork", [Works, Works, Works];
    endings::killed, "kill -9 in mid-turn, back with its conversation", [Works, Works, Works];
    endings::restarted, "a restart of everything, the conversation goes on", [Works, Works, Works];
}
