//! Every kind of actor of a runner and where it lives: the whole policy in one place to read.

use crate::{agent, history, idle, link, retention, session};
use octo_actors::Kind;

/// Where each kind lives, and its policy.
#[must_use]
pub fn kinds() -> Vec<(&'static str, Kind)> {
    vec![
        ("/history", history::HISTORY),
        ("/retention", retention::RETENTION),
        ("/idle", idle::IDLE),
        ("/link", link::LINK),
        ("/link/<n>", link::CONNECTION),
        ("/sessions", session::SESSIONS),
        ("/sessions/<s>", session::SESSION),
        ("/sessions/<s>/agent", agent::AGENT),
    ]
}
