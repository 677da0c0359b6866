//! A ledger between two programs of the runner: what the journal does not say of what is open.

use super::{Ledger, OpenQuestion, OpenTool};
use crate::permissions::Asked;
use octo_protocol::InputRequest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A ledger of which everything is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedLedger {
    pub head: u64,
    next_idx: u64,
    turn: Option<String>,
    messages: HashMap<String, u64>,
    tools: BTreeMap<String, SavedTool>,
    questions: BTreeMap<String, SavedQuestion>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedTool {
    name: String,
    seq: u64,
    partial: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedQuestion {
    request: InputRequest,
    seq: u64,
    /// A program from before there were permissions leaves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
}

impl Ledger {
    /// `None` while something waits for the journal.
    pub fn save(&self) -> Option<SavedLedger> {
        if self.stuck.is_some() || !self.pending.is_empty() || !self.changes.is_empty() {
            return None;
        }
        let tool = |tool: &OpenTool| SavedTool { name: tool.name.clone(), seq: tool.seq, partial: tool.partial.clone() };
        let question = |open: &OpenQuestion| SavedQuestion {
            request: open.request.clone(),
            seq: open.seq,
            asked: open.asked.clone(),
            expires: open.expires,
        };
        Some(SavedLedger {
            head: self.head,
            next_idx: self.next_idx,
            turn: self.turn.clone(),
            messages: self.messages.clone(),
            tools: self.tools.iter().map(|(id, open)| (id.clone(), tool(open))).collect(),
            questions: self.questions.iter().map(|(id, open)| (id.clone(), question(open))).collect(),
        })
    }

    /// Goes on from there. False when the journal is not where it was.
    pub fn restore(&mut self, saved: SavedLedger) -> bool {
        if saved.head != self.head {
            return false;
        }
        self.next_idx = saved.next_idx;
        self.turn = saved.turn;
        self.messages = saved.messages;
        let tool = |tool: SavedTool| OpenTool { seq: tool.seq, partial: tool.partial, ..OpenTool::of_before(tool.name) };
        self.tools = saved.tools.into_iter().map(|(id, saved)| (id, tool(saved))).collect();
        let question =
            |saved: SavedQuestion| OpenQuestion { request: saved.request, seq: saved.seq, asked: saved.asked, expires: saved.expires };
        self.questions = saved.questions.into_iter().map(|(id, saved)| (id, question(saved))).collect();
        true
    }
}
