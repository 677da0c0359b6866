//! Work in the background: sub-agents that live longer than the turn that started them.

use serde::{Deserialize, Serialize};

/// Most that are followed; the questions of others end with the turn.
const MAX_TASKS: usize = 256;

/// Those that live, by their ids.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tasks {
    background: Vec<String>,
}

impl Tasks {
    /// One begins, or goes on in the background.
    pub fn began(&mut self, id: &str) {
        if !id.is_empty() && !self.lives(id) && self.background.len() < MAX_TASKS {
            self.background.push(id.to_owned());
        }
    }

    /// One is over.
    pub fn ended(&mut self, id: &str) {
        self.background.retain(|task| task != id);
    }

    /// Whether it lives in the background.
    #[must_use]
    pub fn lives(&self, id: &str) -> bool {
        self.background.iter().any(|task| task == id)
    }
}
