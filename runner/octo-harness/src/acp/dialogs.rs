//! Permissions that the agent asks for, and what an answer to one is. Its own options go to people as they are.

use super::tools::Call;
use super::v1::Ask;
use super::wire;
use crate::harness::Outbox;
use octo_protocol::event::Event;
use octo_protocol::input::{InputAnswer, InputRequest, PermissionKind, PermissionOption};
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Most questions open at once; more are refused at once.
pub const MAX_OPEN: usize = 64;
/// Most characters of a value that is shown.
const SHOWN: usize = 20_000;

#[derive(Debug, Serialize, Deserialize)]
struct Dialog {
    /// The agent's id of the request.
    id: Value,
    request: InputRequest,
}

/// The open questions, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dialogs {
    open: Vec<Dialog>,
    count: u64,
}

/// The answer "nobody decided": the turn is cancelled.
#[must_use]
pub fn cancelled() -> Value {
    json!({"outcome": {"outcome": "cancelled"}})
}

fn shortened(text: &str) -> (String, bool) {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => (format!("{}…", &text[..cut]), true),
        None => (text.to_owned(), false),
    }
}

/// What is asked for, so that a person, or a rule, can decide.
fn metadata(call: &Call) -> Value {
    let input = &call.input;
    let text = |names: &[&str]| names.iter().find_map(|name| input[*name].as_str()).map(str::to_owned);
    let command = text(&["command", "cmd"]).or_else(|| {
        let words: Vec<&str> = input["command"].as_array()?.iter().filter_map(Value::as_str).collect();
        // A shell with its script: the script is what is run.
        Some(match words.as_slice() {
            [_, "-c" | "-lc", script] => (*script).to_owned(),
            words => words.join(" "),
        })
    });
    let path = text(&["file_path", "filePath", "path", "filepath"]).or_else(|| call.paths.first().cloned());
    let diff = Some(call.diff.clone()).filter(|diff| !diff.is_empty()).or_else(|| text(&["diff"]));
    let (mut shown, mut truncated) = (Map::new(), false);
    let told = command.is_some() || diff.is_some();
    let path = path.filter(|_| command.is_none());
    for (name, value) in [("command", command), ("path", path), ("diff", diff), ("url", text(&["url"]))] {
        if let Some(value) = value {
            let (value, cut) = shortened(&value);
            truncated |= cut && name != "diff";
            shown.insert(name.to_owned(), value.into());
        }
    }
    shown.insert("tool".to_owned(), call.name.clone().into());
    shown.insert("tool_call_id".to_owned(), call.id.clone().into());
    if truncated {
        shown.insert("truncated".to_owned(), true.into());
    }
    if call.kind == "switch_mode" {
        // A plan is agreed with, or not, by a person.
        shown.insert("needs_person".to_owned(), true.into());
    }
    if !told && !input.is_null() {
        let (text, _) = shortened(&input.to_string());
        shown.insert("input".to_owned(), serde_json::from_str(&text).unwrap_or(Value::String(text)));
    }
    shown.into()
}

impl Dialogs {
    /// The open questions as clients see them.
    #[must_use]
    pub fn requests(&self) -> Vec<InputRequest> {
        self.open.iter().map(|dialog| dialog.request.clone()).collect()
    }

    /// Opens a permission for `call`. `false` when there are too many.
    pub fn ask(&mut self, id: Value, ask: &Ask, call: &Call, out: &mut Outbox) -> bool {
        if self.open.len() >= MAX_OPEN {
            return false;
        }
        self.count += 1;
        let title = if call.title.is_empty() || call.title == call.name {
            format!("Allow {}?", call.name)
        } else {
            format!("Allow {}: {}?", call.name, shortened(&call.title.chars().take(200).collect::<String>()).0)
        };
        let request = InputRequest::Permission {
            request_id: format!("p{}-{}", self.count, call.id),
            title,
            description: None,
            metadata: Some(metadata(call)),
            options: Some(ask.options.clone()),
        };
        out.event(Event::AgentInputNeeded { request: request.clone() });
        self.open.push(Dialog { id, request });
        true
    }

    /// Answers a question.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidRequest`] when no such question is open, or the answer is none of its options.
    pub fn answer(&mut self, request_id: &str, answer: &InputAnswer, out: &mut Outbox) -> Result<(), ProtocolError> {
        let at = self.open.iter().position(|dialog| dialog.request.request_id() == request_id).ok_or_else(|| {
            let message = format!("there is no open question {request_id}; it may have been answered already");
            ProtocolError::new(ErrorCode::InvalidRequest, message)
        })?;
        let outcome = match answer.cancelled {
            Some(true) => cancelled(),
            _ => match chosen(&self.open[at].request, answer)? {
                Some(option) => json!({"outcome": {"outcome": "selected", "optionId": option}}),
                None => cancelled(),
            },
        };
        let dialog = self.open.remove(at);
        out.event(Event::AgentInputResolved { request_id: request_id.to_owned(), by: Some("user".to_owned()) });
        wire::answer(&dialog.id, &outcome, out);
        Ok(())
    }

    /// The agent withdraws its request. `true` when it was open.
    pub fn withdraw(&mut self, id: &Value, out: &mut Outbox) -> bool {
        let Some(at) = self.open.iter().position(|dialog| dialog.id == *id) else { return false };
        let dialog = self.open.remove(at);
        out.event(Event::AgentInputResolved { request_id: dialog.request.request_id().to_owned(), by: Some("agent".to_owned()) });
        wire::refuse(&dialog.id, wire::CANCELLED, "the request was cancelled", out);
        true
    }

    /// Closes every question; `tell` the agent that nobody decided.
    pub fn close(&mut self, by: &str, tell: bool, out: &mut Outbox) {
        for dialog in std::mem::take(&mut self.open) {
            out.event(Event::AgentInputResolved { request_id: dialog.request.request_id().to_owned(), by: Some(by.to_owned()) });
            if tell {
                wire::answer(&dialog.id, &cancelled(), out);
            }
        }
    }
}

/// The option that an answer means; `None` when it is a refusal and none is offered.
fn chosen(request: &InputRequest, answer: &InputAnswer) -> Result<Option<String>, ProtocolError> {
    let InputRequest::Permission { options, .. } = request else { return Ok(None) };
    let options: &[PermissionOption] = options.as_deref().unwrap_or_default();
    let of = |kinds: [PermissionKind; 2]| {
        kinds.into_iter().find_map(|kind| options.iter().find(|option| option.kind == kind)).map(|option| option.option_id.clone())
    };
    let missing = |what: String| ProtocolError::new(ErrorCode::InvalidRequest, format!("the answer needs {what}"));
    match (&answer.option_id, answer.confirmed) {
        (Some(id), _) => match options.iter().find(|option| option.option_id == *id) {
            Some(option) => Ok(Some(option.option_id.clone())),
            None => Err(missing(format!("one of the options that were offered, not {id:?}"))),
        },
        (None, Some(true)) => match of([PermissionKind::AllowOnce, PermissionKind::AllowAlways]) {
            Some(option) => Ok(Some(option)),
            None => Err(missing("a refusal: the agent offers nothing else".to_owned())),
        },
        (None, Some(false)) => Ok(of([PermissionKind::DenyOnce, PermissionKind::DenyAlways])),
        (None, None) => Err(missing("`option_id`, `confirmed` or `cancelled`".to_owned())),
    }
}
