//! What Claude Code asks before it goes on: whether a tool may run, which answer to a question is right, whether a plan is good.
//!
//! They come as `can_use_tool`, or as a call of octo's tool `ask`, and are answered by one `control_response`. A question of Claude Code may hold several: they are
//! asked one after the other, and answered together. A question is open as long as whoever asks it: a turn, or a sub-agent in the background.

use super::mcp::carried;
use super::permission;
use super::questions::Questions;
use super::requests::success;
use super::tasks::Tasks;
use super::wire::CanUseTool;
use crate::harness::Outbox;
use crate::tools::ask::Ask;
use crate::tools::mcp;
use octo_protocol::event::Event;
use octo_protocol::input::{InputAnswer, InputRequest, PermissionKind, PermissionOption};
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most questions open at once; more are refused at once.
pub const MAX_OPEN: usize = 64;
/// The tool that asks people.
const ASK: &str = "AskUserQuestion";
/// The tool that shows a plan.
const PLAN: &str = "ExitPlanMode";

/// What an answer becomes.
#[derive(Debug, Serialize, Deserialize)]
enum Subject {
    /// `always`: the permission updates that make the answer last.
    Permission {
        always: Vec<Value>,
    },
    Questions(Questions),
    Plan,
    /// A call of octo's tool `ask`, with its id.
    Person {
        call: Value,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Dialog {
    /// Claude Code's id of the request.
    id: String,
    request: InputRequest,
    subject: Subject,
    /// As it came: an allowance gives it back.
    input: Value,
    /// The sub-agent that asks.
    #[serde(default)]
    agent: Option<String>,
}

/// The open questions, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dialogs {
    open: Vec<Dialog>,
}

fn deny(id: &str, message: &str) -> Value {
    success(id, json!({"behavior": "deny", "message": message}))
}

/// The line that allows what a request asks for.
#[must_use]
pub fn allow(id: &str, input: Value, updates: Vec<Value>) -> Value {
    let mut response = json!({"behavior": "allow", "updatedInput": input});
    if !updates.is_empty() {
        response["updatedPermissions"] = updates.into();
    }
    success(id, response)
}

fn missing(id: &str, what: &str) -> ProtocolError {
    ProtocolError::new(ErrorCode::InvalidRequest, format!("the answer to question {id} needs {what}"))
}

impl Dialogs {
    /// The open questions as clients see them.
    #[must_use]
    pub fn requests(&self) -> Vec<InputRequest> {
        self.open.iter().map(|dialog| dialog.request.clone()).collect()
    }

    /// Opens a question. `plan` is what the call of the tool said, where the request itself does not. Gives back the line that refuses it when there
    /// are too many.
    pub fn ask(&mut self, id: &str, ask: CanUseTool, plan: Option<&str>, out: &mut Outbox) -> Option<Value> {
        if self.open.iter().any(|open| open.id == id) {
            return None;
        }
        if self.open.len() >= MAX_OPEN {
            return Some(deny(id, "too many questions are open; ask again later"));
        }
        let (request, subject) = match ask.tool_name.as_str() {
            ASK => match Questions::parse(&ask.input) {
                Some(questions) => (questions.request(id), Subject::Questions(questions)),
                None => return Some(deny(id, "the question has no text")),
            },
            PLAN => {
                let plan = ask.input["plan"].as_str().or(plan).unwrap_or_default();
                let request = InputRequest::Confirm {
                    request_id: id.to_owned(),
                    title: "Carry out this plan?".to_owned(),
                    message: permission::shortened(plan),
                    timeout: None,
                };
                (request, Subject::Plan)
            }
            _ => {
                let (request, always) = permission::request(id, &ask);
                (request, Subject::Permission { always })
            }
        };
        self.open(Dialog { id: id.to_owned(), request, subject, input: ask.input, agent: ask.agent_id }, out);
        None
    }

    /// Opens the question of the call `call` of octo's tool. Gives back the line that refuses it when there are too many.
    pub fn ask_person(&mut self, id: &str, call: Value, ask: &Ask, out: &mut Outbox) -> Option<Value> {
        if self.open.iter().any(|open| open.id == id) {
            return None;
        }
        let dialog =
            Dialog { id: id.to_owned(), request: ask.request(id), subject: Subject::Person { call }, input: Value::Null, agent: None };
        if self.open.len() >= MAX_OPEN {
            return Some(dialog.refused("too many questions are open; ask again later"));
        }
        self.open(dialog, out);
        None
    }

    fn open(&mut self, dialog: Dialog, out: &mut Outbox) {
        out.event(Event::AgentInputNeeded { request: dialog.request.clone() });
        self.open.push(dialog);
    }

    /// Answers a question: gives the line for Claude Code, unless it is asked further.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidRequest`] when no such question is open, or the answer lacks what its type needs.
    pub fn answer(&mut self, request_id: &str, answer: &InputAnswer, out: &mut Outbox) -> Result<Option<Value>, ProtocolError> {
        let at = self.open.iter().position(|dialog| dialog.request.request_id() == request_id).ok_or_else(|| {
            ProtocolError::new(
                ErrorCode::InvalidRequest,
                format!("there is no open question {request_id}; it may have been answered already"),
            )
        })?;
        let line = self.open[at].answered(answer)?;
        out.event(Event::AgentInputResolved { request_id: request_id.to_owned(), by: Some("user".to_owned()) });
        match line {
            Some(line) => {
                self.open.remove(at);
                Ok(Some(line))
            }
            None => {
                out.event(Event::AgentInputNeeded { request: self.open[at].request.clone() });
                Ok(None)
            }
        }
    }

    /// Claude Code withdraws a question. `true` when it was open.
    pub fn withdraw(&mut self, id: &str, out: &mut Outbox) -> bool {
        let Some(at) = self.open.iter().position(|dialog| dialog.id == id) else { return false };
        let dialog = self.open.remove(at);
        out.event(Event::AgentInputResolved { request_id: dialog.request.request_id().to_owned(), by: Some("agent".to_owned()) });
        true
    }

    /// Nobody waits any more for the call `call` of octo's tool.
    pub fn withdraw_call(&mut self, call: &Value, out: &mut Outbox) {
        let withdrawn = self.take(|dialog| matches!(&dialog.subject, Subject::Person { call: of } if of == call));
        close(&withdrawn, "agent", out);
    }

    /// The turn is over: closes the questions that nobody will ask again, and gives the lines that refuse them. Those of sub-agents that live on stay.
    #[must_use]
    pub fn end_turn(&mut self, by: &str, tasks: &Tasks, out: &mut Outbox) -> Vec<Value> {
        let left = self.take(|dialog| !dialog.agent.as_deref().is_some_and(|agent| tasks.lives(agent)));
        close(&left, by, out);
        left.iter().map(|dialog| dialog.refused("The turn was over before anybody answered.")).collect()
    }

    /// A sub-agent is over: closes its questions, and gives the lines that refuse them.
    #[must_use]
    pub fn end_task(&mut self, task: &str, out: &mut Outbox) -> Vec<Value> {
        let left = self.take(|dialog| dialog.agent.as_deref() == Some(task));
        close(&left, "agent", out);
        left.iter().map(|dialog| dialog.refused("The agent that asked is over.")).collect()
    }

    /// Closes every question.
    pub fn close(&mut self, by: &str, out: &mut Outbox) {
        close(&std::mem::take(&mut self.open), by, out);
    }

    fn take(&mut self, which: impl Fn(&Dialog) -> bool) -> Vec<Dialog> {
        let (taken, kept) = std::mem::take(&mut self.open).into_iter().partition(which);
        self.open = kept;
        taken
    }
}

fn close(dialogs: &[Dialog], by: &str, out: &mut Outbox) {
    for dialog in dialogs {
        out.event(Event::AgentInputResolved { request_id: dialog.request.request_id().to_owned(), by: Some(by.to_owned()) });
    }
}

impl Dialog {
    /// The line that refuses it.
    fn refused(&self, why: &str) -> Value {
        match &self.subject {
            Subject::Person { call } => carried(&self.id, Some(mcp::result(call, why, true))),
            _ => deny(&self.id, why),
        }
    }

    // The line for Claude Code; `None` when the next question is to be asked.
    fn answered(&mut self, answer: &InputAnswer) -> Result<Option<Value>, ProtocolError> {
        let cancelled = answer.cancelled == Some(true);
        match &mut self.subject {
            _ if cancelled => Ok(Some(self.refused("The user dismissed this without an answer."))),
            Subject::Person { call } => {
                let value = answer.value.as_deref().ok_or_else(|| missing(&self.id, "`value` or `cancelled`"))?;
                Ok(Some(carried(&self.id, Some(mcp::result(call, value, false)))))
            }
            Subject::Permission { always } => {
                let kind = chosen(&self.id, &self.request, answer)?;
                let reason = answer.value.as_deref().filter(|value| !value.trim().is_empty());
                Ok(Some(match kind {
                    PermissionKind::AllowOnce => allow(&self.id, self.input.take(), Vec::new()),
                    PermissionKind::AllowAlways => allow(&self.id, self.input.take(), std::mem::take(always)),
                    PermissionKind::DenyOnce | PermissionKind::DenyAlways => deny(&self.id, reason.unwrap_or("The user refused.")),
                }))
            }
            Subject::Questions(questions) => {
                let value = answer.value.as_deref().ok_or_else(|| missing(&self.id, "`value` or `cancelled`"))?;
                if questions.answered(value) {
                    self.request = questions.request(&self.id);
                    return Ok(None);
                }
                let mut input = self.input.take();
                if let Value::Object(input) = &mut input {
                    input.insert("answers".to_owned(), questions.answers());
                }
                Ok(Some(allow(&self.id, input, Vec::new())))
            }
            Subject::Plan => {
                let agreed = answer.confirmed.ok_or_else(|| missing(&self.id, "`confirmed` or `cancelled`"))?;
                let remark = answer.value.as_deref().filter(|value| !value.trim().is_empty());
                Ok(Some(match (agreed, remark) {
                    (true, _) => allow(&self.id, self.input.take(), Vec::new()),
                    (false, Some(remark)) => deny(&self.id, remark),
                    (false, None) => deny(&self.id, "The user does not agree with the plan yet; go on planning."),
                }))
            }
        }
    }
}

fn chosen(id: &str, request: &InputRequest, answer: &InputAnswer) -> Result<PermissionKind, ProtocolError> {
    let InputRequest::Permission { options, .. } = request else { return Ok(PermissionKind::DenyOnce) };
    let options: &[PermissionOption] = options.as_deref().unwrap_or_default();
    match (&answer.option_id, answer.confirmed) {
        (Some(chosen), _) => options
            .iter()
            .find(|option| option.option_id == *chosen)
            .map(|option| option.kind)
            .ok_or_else(|| missing(id, &format!("one of the options that were offered, not {chosen:?}"))),
        (None, Some(true)) => Ok(PermissionKind::AllowOnce),
        (None, Some(false)) => Ok(PermissionKind::DenyOnce),
        (None, None) => Err(missing(id, "`option_id`, `confirmed` or `cancelled`")),
    }
}
