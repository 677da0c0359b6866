//! What an operator should know of a session: what it waits for that does not come by itself, or not soon.

use super::actor::Session;
use std::time::Duration;

/// An agent that leaves a question of the runner's unanswered for so long is told of; people are told later.
const SILENT: Duration = Duration::from_secs(5);

impl Session {
    /// A sentence, and what to do; `None` when all is well.
    pub fn trouble(&self) -> Option<String> {
        if self.ledger.is_stalled() {
            let why = self.ledger.why_stalled();
            return Some(format!("waits for its journal, and its agent is held back: {why}; make room there, it goes on by itself"));
        }
        let name = format!("{}/{}", self.shared.options.user, self.row.id);
        if let Some(silent) = self.probe.unanswered().filter(|silent| *silent >= SILENT && self.agent.is_ready()) {
            let seconds = silent.as_secs();
            return Some(format!(
                "its agent runs and has answered nothing for {seconds} s; `octoctl session restart {name}` ends it and starts another one"
            ));
        }
        let failed = self.failed && self.agent.is_asleep();
        failed.then(|| {
            let why = self.failure.as_deref().unwrap_or("its last events say why");
            format!("its agent does not run: {why}. `octoctl session restart {name}` tries again at once, and so does a prompt")
        })
    }
}
