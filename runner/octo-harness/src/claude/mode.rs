//! Claude Code's permission mode. It may plan by its own wish, and that is shown; a mode in which it acts without asking is for people to choose. One that it is in
//! all the same, it is told to leave.

use super::requests::Purpose;
use super::{CALLED, Claude};
use crate::harness::Outbox;
use crate::lines::excerpt;
use octo_protocol::event::{Event, Level};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// In it, Claude Code asks before it acts.
pub const ASKING: &str = "default";
/// In it, Claude Code changes nothing.
const PLANNING: &str = "plan";
/// In it, edits are not asked for: what "Allow all edits in this session" brings.
const EDITING: &str = "acceptEdits";
/// The key of `status` under which it is shown.
pub const KEY: &str = "mode";
/// Most characters of a mode's name that are shown.
const SHOWN: usize = 40;

/// What is known of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mode {
    /// The one that Claude Code named last, unless it is the one that asks.
    current: Option<String>,
    /// A person allowed all edits.
    editing: bool,
}

impl Claude {
    /// Claude Code is in this mode.
    pub(super) fn mode_is(&mut self, mode: &str, out: &mut Outbox) {
        let mode = Some(excerpt(mode, SHOWN)).filter(|mode| mode != ASKING);
        if self.mode.current == mode {
            return;
        }
        let text = match mode.as_deref() {
            None => None,
            Some(PLANNING) => Some("It plans: nothing is changed until somebody agrees with the plan.".to_owned()),
            Some(EDITING) if self.mode.editing => Some("It edits without asking, as it was allowed to.".to_owned()),
            Some(other) => {
                let message = format!("{CALLED} went over to the mode {other:?}, in which it might act without asking; octo takes it back");
                out.event(Event::Notify { level: Level::Warning, message });
                self.ask_again(out);
                Some(format!("It is in the mode {other:?}, which octo takes back."))
            }
        };
        self.mode.current = mode;
        out.event(Event::Status { key: KEY.to_owned(), text });
    }

    fn ask_again(&mut self, out: &mut Outbox) {
        if !self.gone && !self.requests.is_full() && !self.requests.waits(|purpose| matches!(purpose, Purpose::Mode)) {
            self.requests.send(Purpose::Mode, "set_permission_mode", json!({"mode": ASKING}), out);
        }
    }

    /// A person's answer went to Claude Code: whether it allows all edits.
    pub(super) fn allowed(&mut self, line: &Value) {
        let updates = line["response"]["response"]["updatedPermissions"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.mode.editing |= updates.iter().any(|update| update["type"] == "setMode" && update["mode"] == EDITING);
    }
}
