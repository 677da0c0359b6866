//! Questions that pi's extensions ask, and the permissions that octo's own extension asks for.
//!
//! A permission comes as a `select` whose title, or a `confirm` whose message, is [`PERMISSION_MARKER`] followed by a JSON object
//! `{title, description?, metadata?, options?: [{option_id, label, kind}]}`. pi answers a dialog with a `timeout` by itself and says nothing about
//! it, so octo resolves it when that time is over. The value that answers a permission is the chosen option's id; below that of a denial stands why.

use super::wire::{UiRequest, unsigned};
use crate::harness::Outbox;
use octo_protocol::event::Event;
use octo_protocol::input::{InputAnswer, InputRequest, PermissionKind, PermissionOption};
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the title or message of a permission begins with.
pub const PERMISSION_MARKER: &str = "octo:permission:";
/// Most questions open at once; more are answered `cancelled` at once.
pub const MAX_OPEN: usize = 64;

/// How pi wants a dialog answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Method {
    Value,
    Confirmed,
}

#[derive(Debug, Serialize, Deserialize)]
struct Dialog {
    request: InputRequest,
    method: Method,
    /// Unix milliseconds at which pi gives up on it.
    expires: Option<i64>,
    /// Asked while a run was under way: it ends with the run.
    of_run: bool,
}

/// The open questions, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dialogs {
    open: Vec<Dialog>,
}

#[derive(Debug, Deserialize)]
struct Marked {
    #[serde(default)]
    title: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    metadata: Option<Value>,
    #[serde(default)]
    options: Option<Vec<PermissionOption>>,
}

fn permission(request_id: &str, text: &str) -> Option<InputRequest> {
    let marked: Marked = serde_json::from_str(text.strip_prefix(PERMISSION_MARKER)?).ok()?;
    let Marked { title, description, metadata, options } = marked;
    Some(InputRequest::Permission { request_id: request_id.to_owned(), title, description, metadata, options })
}

fn dialog(ui: UiRequest, now: i64, of_run: bool) -> Option<Dialog> {
    let timeout = ui.timeout.filter(|timeout| *timeout > 0.0).map(unsigned);
    let expires = timeout.map(|timeout| now.saturating_add(i64::try_from(timeout).unwrap_or(i64::MAX)));
    let request_id = ui.id;
    let (request, method) = match ui.method.as_str() {
        "select" => {
            let marked = permission(&request_id, &ui.title);
            let plain = || InputRequest::Select { request_id, title: ui.title, options: ui.options, timeout };
            (marked.unwrap_or_else(plain), Method::Value)
        }
        "confirm" => {
            let marked = permission(&request_id, &ui.message).or_else(|| permission(&request_id, &ui.title));
            let plain = || InputRequest::Confirm { request_id, title: ui.title, message: ui.message, timeout };
            (marked.unwrap_or_else(plain), Method::Confirmed)
        }
        "input" => (InputRequest::Input { request_id, title: ui.title, placeholder: ui.placeholder, timeout }, Method::Value),
        "editor" => (InputRequest::Editor { request_id, title: ui.title, prefill: ui.prefill }, Method::Value),
        _ => return None,
    };
    Some(Dialog { request, method, expires, of_run })
}

/// pi's answer line for a dialog that nobody answers.
#[must_use]
pub fn cancelled(request_id: &str) -> Value {
    json!({"type": "extension_ui_response", "id": request_id, "cancelled": true})
}

impl Dialogs {
    /// The open questions as clients see them.
    #[must_use]
    pub fn requests(&self) -> Vec<InputRequest> {
        self.open.iter().map(|dialog| dialog.request.clone()).collect()
    }

    /// Opens a question. Gives back the line that refuses it when there are too many; `None` when it is open, or no question at all.
    pub fn ask(&mut self, ui: UiRequest, now: i64, of_run: bool, out: &mut Outbox) -> Option<Value> {
        let dialog = dialog(ui, now, of_run)?;
        if self.open.len() >= MAX_OPEN {
            return Some(cancelled(dialog.request.request_id()));
        }
        if self.open.iter().any(|open| open.request.request_id() == dialog.request.request_id()) {
            return None;
        }
        out.event(Event::AgentInputNeeded { request: dialog.request.clone() });
        self.open.push(dialog);
        None
    }

    /// Answers a question: gives pi's answer line.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidRequest`] when no such question is open, or the answer lacks the field that its type needs.
    pub fn answer(&mut self, request_id: &str, answer: &InputAnswer, out: &mut Outbox) -> Result<Value, ProtocolError> {
        let at = self.open.iter().position(|dialog| dialog.request.request_id() == request_id).ok_or_else(|| {
            ProtocolError::new(
                ErrorCode::InvalidRequest,
                format!("there is no open question {request_id}; it may have been answered already"),
            )
        })?;
        let line = answer_line(&self.open[at], request_id, answer)?;
        self.open.remove(at);
        out.event(Event::AgentInputResolved { request_id: request_id.to_owned(), by: Some("user".to_owned()) });
        Ok(line)
    }

    /// Closes the questions whose time is over. `true` when there were any.
    pub fn expire(&mut self, now: i64, out: &mut Outbox) -> bool {
        let over = |dialog: &Dialog| dialog.expires.is_some_and(|at| at <= now);
        self.open.iter().any(over) && !self.close_where(over, "timeout", out).is_empty()
    }

    /// The run is over: what was asked in it no longer waits for an answer.
    pub fn end_run(&mut self, out: &mut Outbox) {
        self.close_where(|dialog| dialog.of_run, "agent", out);
    }

    /// Closes every question and gives the ids, to be cancelled at the agent.
    pub fn close(&mut self, by: &str, out: &mut Outbox) -> Vec<String> {
        self.close_where(|_| true, by, out)
    }

    fn close_where(&mut self, over: impl Fn(&Dialog) -> bool, by: &str, out: &mut Outbox) -> Vec<String> {
        let (closed, open) = std::mem::take(&mut self.open).into_iter().partition(|dialog| over(dialog));
        self.open = open;
        let closed: Vec<Dialog> = closed;
        let ids: Vec<String> = closed.iter().map(|dialog| dialog.request.request_id().to_owned()).collect();
        for id in &ids {
            out.event(Event::AgentInputResolved { request_id: id.clone(), by: Some(by.to_owned()) });
        }
        ids
    }
}

/// octo's extension tells the agent why it was denied: what stands below the option.
fn with_reason(option: &str, allowed: bool, answer: &InputAnswer) -> String {
    match answer.value.as_deref().filter(|_| !allowed) {
        Some(reason) => format!("{option}\n{reason}"),
        None => option.to_owned(),
    }
}

fn answer_line(dialog: &Dialog, id: &str, answer: &InputAnswer) -> Result<Value, ProtocolError> {
    if answer.cancelled == Some(true) {
        return Ok(cancelled(id));
    }
    let missing = |what: &str| ProtocolError::new(ErrorCode::InvalidRequest, format!("the answer to question {id} needs {what}"));
    if let InputRequest::Permission { options, .. } = &dialog.request {
        let options = options.as_deref().unwrap_or_default();
        let option = match &answer.option_id {
            Some(chosen) => Some(
                options
                    .iter()
                    .find(|option| option.option_id == *chosen)
                    .ok_or_else(|| missing(&format!("one of the options that were offered, not {chosen:?}")))?,
            ),
            None => None,
        };
        let allowed = option
            .map(|option| matches!(option.kind, PermissionKind::AllowOnce | PermissionKind::AllowAlways))
            .or(answer.confirmed)
            .ok_or_else(|| missing("`option_id`, `confirmed` or `cancelled`"))?;
        if dialog.method == Method::Confirmed {
            return Ok(json!({"type": "extension_ui_response", "id": id, "confirmed": allowed}));
        }
        let wanted = if allowed { PermissionKind::AllowOnce } else { PermissionKind::DenyOnce };
        let option = option.or_else(|| options.iter().find(|option| option.kind == wanted));
        return Ok(match option {
            Some(option) => json!({"type": "extension_ui_response", "id": id, "value": with_reason(&option.option_id, allowed, answer)}),
            None => cancelled(id),
        });
    }
    match dialog.method {
        Method::Confirmed => {
            let confirmed = answer.confirmed.ok_or_else(|| missing("`confirmed` or `cancelled`"))?;
            Ok(json!({"type": "extension_ui_response", "id": id, "confirmed": confirmed}))
        }
        Method::Value => {
            let value = answer.value.as_ref().ok_or_else(|| missing("`value` or `cancelled`"))?;
            Ok(json!({"type": "extension_ui_response", "id": id, "value": value}))
        }
    }
}
