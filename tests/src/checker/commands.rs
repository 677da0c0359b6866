//! Commands of one connection and their responses: exactly one each.

use super::verdict::{Fault, Rule, ensure};
use serde_json::Value;
use std::collections::HashMap;

/// What a client asked for when it attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Events after this `seq` of this epoch.
    After(String, u64),
    /// The newest messages first.
    Messages,
}

#[derive(Debug, Clone)]
struct Sent {
    session: String,
    cmd: String,
    asked: Asked,
}

/// Commands without a response yet.
#[derive(Debug, Default)]
pub struct Commands {
    waiting: HashMap<String, Vec<Sent>>,
    answered: HashMap<String, Value>,
    anonymous: u64,
}

impl Commands {
    /// The client sends `text`, whatever it is.
    pub fn sent(&mut self, text: &str) {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(id) = frame["id"].as_str().filter(|id| !id.is_empty()) else {
            self.anonymous += 1;
            return;
        };
        let string = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
        let asked = match (frame["cursor"]["epoch"].as_str(), frame["cursor"]["seq"].as_u64()) {
            (Some(epoch), Some(seq)) => Asked::After(epoch.to_owned(), seq),
            _ => Asked::Messages,
        };
        self.waiting.entry(id.to_owned()).or_default().push(Sent { session: string("session_id"), cmd: string("cmd"), asked });
    }

    /// A response: what was asked, if it opened a session.
    pub fn answered(&mut self, frame: &Value) -> Result<Option<Asked>, Fault> {
        let id = frame["id"].as_str().ok_or_else(|| Fault::new(Rule::Shape, "a response has an id"))?;
        if id.is_empty() {
            ensure(self.anonymous > 0, Rule::Response, || "a response without an id to no command".to_owned())?;
            self.anonymous -= 1;
            return Ok(None);
        }
        let Some(sent) = self.waiting.get_mut(id).filter(|sent| !sent.is_empty()).map(|sent| sent.remove(0)) else {
            return Err(match self.answered.get(id) {
                Some(first) => Fault::new(Rule::Response, format!("a second response to {id}; the first was {first}")),
                None => Fault::new(Rule::Response, format!("a response to {id}, which was never sent on this connection")),
            });
        };
        let (session, cmd) = (frame["session_id"].as_str().unwrap_or_default(), frame["cmd"].as_str().unwrap_or_default());
        ensure(sent.cmd == cmd, Rule::Response, || format!("{id} was {:?} and is answered as {cmd:?}", sent.cmd))?;
        ensure(sent.session == session, Rule::Response, || {
            format!("{id} was for session {:?} and is answered for {session:?}", sent.session)
        })?;
        self.answered.insert(id.to_owned(), frame.clone());
        let opens = (cmd == "session.create" || cmd == "session.attach") && frame["success"] == true;
        Ok(opens.then_some(sent.asked))
    }

    /// Sessions in which an abort waits for its response.
    pub fn aborting(&self) -> impl Iterator<Item = &str> {
        self.waiting.values().flatten().filter(|sent| sent.cmd == "abort").map(|sent| sent.session.as_str())
    }

    /// Ids that wait for their response.
    pub fn unanswered(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.waiting.iter().filter(|(_, sent)| !sent.is_empty()).map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    }
}
