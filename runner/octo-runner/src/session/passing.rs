//! Events on their way through a session, for those who look: when the agent's output was read, and translated.

use super::actor::Session;
use octo_actors::monotonic_ns;
use octo_protocol::admin::RunnerHop;

/// What is known of the message at hand.
#[derive(Debug, Default)]
pub struct Passing {
    /// The newest event before it.
    head: u64,
    /// When its output was read, and translated.
    read: Option<u64>,
    translated: Option<u64>,
}

impl Session {
    /// A message is about to be handled; `read` when it is output that was read then.
    pub fn passes(&mut self, read: Option<u64>) {
        self.passing = Passing { head: self.ledger.head(), read, translated: None };
    }

    /// Its output is translated.
    pub fn translated(&mut self) {
        self.passing.translated = self.passing.read.map(|_| monotonic_ns());
    }

    /// What it brought is in the journal, which has said so itself.
    pub fn passed(&mut self) {
        let Passing { head, read: Some(read), translated: Some(translated) } = self.passing else { return };
        let (from, to) = (head + 1, self.ledger.head());
        if from <= to {
            self.ledger.log.watchers.tell(&RunnerHop::Made { from, to, read, translated });
            self.passing.head = to;
        }
    }
}
