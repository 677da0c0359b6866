//! A fork: pi goes over to a new conversation that ends before one of the user's messages, says where it is, and comes back to the one that it had.
//!
//! ```text
//!   get_fork_messages ──▶ fork ──▶ get_state ──▶ switch_session ──▶ the reply
//! ```
//!
//! pi has no way to fork another conversation than the one it is in. Inputs wait meanwhile. A pi that does not come back is to be started anew, with
//! the resume handle that it had: it never gets another one here.

use super::answers::data;
use super::message::plain_text;
use super::requests::Purpose;
use super::{NAME, Pi, wire};
use crate::harness::{ForkedAway, Outbox};
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde_json::{Value, json};

impl Pi {
    /// An answer on the way. `None` while the reply is to come.
    pub(super) fn forking(
        &mut self,
        purpose: &Purpose,
        answer: &wire::Response<'_>,
        out: &mut Outbox,
    ) -> Result<Option<Value>, ProtocolError> {
        let answer: Value = data(answer)?;
        match purpose {
            Purpose::ForkFrom { token, entry_id } => {
                let listed = answer["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
                let at = listed.iter().position(|message| message["entryId"] == entry_id.as_str()).ok_or_else(|| {
                    let shown: String = entry_id.chars().take(64).collect();
                    let what = format!("there is no message {shown:?} to fork at; get_fork_points lists those that there are");
                    ProtocolError::new(ErrorCode::InvalidRequest, what)
                })?;
                let later = &listed[at + 1..];
                let same = later.iter().filter(|message| message["text"] == listed[at]["text"]).count();
                let purpose = Purpose::Fork { token: *token, after: later.len() as u64, same_after: same as u64 };
                self.requests.send(purpose, "fork", json!({"entryId": entry_id}), out);
                Ok(None)
            }
            Purpose::Fork { token, after, same_after } => {
                let cancelled = answer["cancelled"].as_bool().unwrap_or(false);
                let text = match &answer["text"] {
                    Value::String(text) => text.clone(),
                    other => plain_text(other),
                };
                let forked = ForkedAway { text, cancelled, resume: None, after: *after, same_after: *same_after };
                if cancelled {
                    return reply(&forked);
                }
                self.requests.send(Purpose::ForkedTo { token: *token, forked: Box::new(forked) }, "get_state", json!({}), out);
                Ok(None)
            }
            Purpose::ForkedTo { token, forked } => {
                let state: wire::State = serde_json::from_value(answer).map_err(|error| not_understood(&error))?;
                let mut forked = forked.clone();
                // Without a message pi has not written the file.
                forked.resume = state.session_file.filter(|_| state.message_count > 0);
                let home = json!({"sessionPath": self.state.session_file});
                self.requests.send(Purpose::ForkBack { token: *token, forked }, "switch_session", home, out);
                Ok(None)
            }
            Purpose::ForkBack { forked, .. } => {
                if answer["cancelled"] == true {
                    return Err(lost("an extension kept it"));
                }
                // Its model may be another one again.
                self.requests.send(Purpose::Refresh, "get_state", json!({}), out);
                reply(forked)
            }
            _ => Ok(None),
        }
    }
}

fn reply(forked: &ForkedAway) -> Result<Option<Value>, ProtocolError> {
    serde_json::to_value(forked).map(Some).map_err(|error| ProtocolError::new(ErrorCode::Internal, error.to_string()))
}

fn not_understood(error: &serde_json::Error) -> ProtocolError {
    lost(&format!("what it said of where it is was not understood: {error}"))
}

/// pi is not where it was: [`ErrorCode::Internal`] tells the runner to start it anew.
pub(super) fn lost(why: &str) -> ProtocolError {
    ProtocolError::new(ErrorCode::Internal, format!("{NAME} did not come back from the fork ({why}) and is started anew"))
}
