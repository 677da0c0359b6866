//! Questions of agents, as an editor can put them to a person: a permission as it is, others as a form, else as a choice.

use super::tools;
use octo_protocol::input::PermissionKind;
use octo_protocol::{InputAnswer, InputRequest};
use serde_json::{Value, json};

/// Options of a choice that an editor is asked to show.
const MAX_CHOICES: usize = 20;

/// How a question is put.
#[derive(Debug, PartialEq)]
pub enum Put {
    /// By this method, with these parameters.
    Request(&'static str, Value),
    /// The client cannot put it; a sentence for the person.
    Elsewhere(String),
}

/// How the client would have it.
pub fn put(session: &str, request: &InputRequest, forms: bool) -> Put {
    match request {
        InputRequest::Permission { request_id, title, description, metadata, options } => {
            let call = permission_call(request_id, title, description.as_deref(), metadata.as_ref());
            let kind = |kind| match kind {
                PermissionKind::AllowOnce => "allow_once",
                PermissionKind::AllowAlways => "allow_always",
                PermissionKind::DenyOnce => "reject_once",
                PermissionKind::DenyAlways => "reject_always",
            };
            let offered = options.as_deref().filter(|options| !options.is_empty());
            let offered: Vec<Value> = match offered {
                Some(options) => {
                    options.iter().map(|o| json!({ "optionId": o.option_id, "name": o.label, "kind": kind(o.kind) })).collect()
                }
                None => yes_or_no(),
            };
            ask(session, &call, &offered)
        }
        _ if forms => Put::Request("elicitation/create", form(session, request)),
        InputRequest::Confirm { request_id, title, message, .. } => ask(session, &question_call(request_id, title, message), &yes_or_no()),
        InputRequest::Select { request_id, title, options, .. } if options.len() <= MAX_CHOICES => {
            let choice = |(n, option): (usize, &String)| json!({ "optionId": format!("choice_{n}"), "name": option, "kind": "allow_once" });
            let mut offered: Vec<Value> = options.iter().enumerate().map(choice).collect();
            offered.push(json!({ "optionId": "dismiss", "name": "Dismiss", "kind": "reject_once" }));
            ask(session, &question_call(request_id, title, ""), &offered)
        }
        InputRequest::Select { title, .. } | InputRequest::Input { title, .. } | InputRequest::Editor { title, .. } => {
            Put::Elsewhere(format!("the agent asks: {title} Answer it in octo; this editor takes no answers of this kind."))
        }
    }
}

fn ask(session: &str, call: &Value, options: &[Value]) -> Put {
    Put::Request("session/request_permission", json!({ "sessionId": session, "toolCall": call, "options": options }))
}

fn yes_or_no() -> Vec<Value> {
    vec![
        json!({ "optionId": "yes", "name": "Yes", "kind": "allow_once" }),
        json!({ "optionId": "no", "name": "No", "kind": "reject_once" }),
    ]
}

fn permission_call(request_id: &str, title: &str, description: Option<&str>, metadata: Option<&Value>) -> Value {
    let member = |name: &str| metadata.and_then(|metadata| metadata.get(name)).filter(|value| !value.is_null());
    let tool = member("tool").and_then(Value::as_str);
    let input = member("input").cloned().or_else(|| {
        let said = ["command", "path", "url"].into_iter().filter_map(|name| Some((name.to_owned(), member(name)?.clone())));
        let said: serde_json::Map<String, Value> = said.collect();
        (!said.is_empty()).then_some(Value::Object(said))
    });
    let id = member("tool_call_id").and_then(Value::as_str).unwrap_or(request_id);
    let mut call = json!({ "toolCallId": id, "title": title, "status": "pending" });
    if let Some(tool) = tool {
        call["kind"] = tools::kind(tool).into();
        call["name"] = tool.into();
        // What is asked for is the title: an editor may show nothing else of the call.
        if let Some(input) = &input {
            call["title"] = tools::title(tool, Some(input)).into();
        }
    }
    let mut content = input.as_ref().zip(tool).map(|(input, tool)| tools::change(tool, Some(input))).unwrap_or_default();
    let shown = [description, member("diff").and_then(Value::as_str)].into_iter().flatten().filter(|text| !text.is_empty());
    content.extend(shown.map(|text| json!({ "type": "content", "content": super::content::text(text) })));
    if !content.is_empty() {
        call["content"] = content.into();
    }
    if let Some(input) = input {
        call["locations"] = tools::locations(Some(&input)).into();
        call["rawInput"] = input;
    }
    call
}

fn question_call(request_id: &str, title: &str, message: &str) -> Value {
    let mut call = json!({ "toolCallId": format!("question-{request_id}"), "title": title, "kind": "other", "status": "pending" });
    if !message.is_empty() {
        call["content"] = json!([{ "type": "content", "content": super::content::text(message) }]);
    }
    call
}

fn form(session: &str, request: &InputRequest) -> Value {
    let (message, property) = match request {
        InputRequest::Select { title, options, .. } => (title.clone(), json!({ "type": "string", "title": title, "enum": options })),
        InputRequest::Confirm { title, message, .. } => {
            let text = if message.is_empty() { title.clone() } else { format!("{title}\n{message}") };
            (text, json!({ "type": "boolean", "title": title }))
        }
        InputRequest::Input { title, placeholder, .. } => {
            (title.clone(), json!({ "type": "string", "title": title, "description": placeholder }))
        }
        InputRequest::Editor { title, prefill, .. } => (title.clone(), json!({ "type": "string", "title": title, "default": prefill })),
        InputRequest::Permission { title, .. } => (title.clone(), json!({ "type": "boolean", "title": title })),
    };
    let schema = json!({ "type": "object", "properties": { "answer": property }, "required": ["answer"] });
    json!({ "sessionId": session, "mode": "form", "message": message, "requestedSchema": schema })
}

/// What the person answered; `None` when the client cannot put the question after all.
#[must_use]
pub fn answer(request: &InputRequest, result: &Value) -> Option<InputAnswer> {
    let cancelled = || InputAnswer { cancelled: Some(true), ..InputAnswer::default() };
    if let Some(action) = result.get("action").and_then(Value::as_str) {
        let said = &result["content"]["answer"];
        return Some(match (action, request) {
            ("accept", InputRequest::Confirm { .. }) => {
                InputAnswer { confirmed: Some(said.as_bool().unwrap_or(false)), ..InputAnswer::default() }
            }
            ("accept", _) => match said.as_str() {
                Some(text) => InputAnswer { value: Some(text.to_owned()), ..InputAnswer::default() },
                None => cancelled(),
            },
            _ => cancelled(),
        });
    }
    let outcome = result.get("outcome")?;
    let chosen = outcome.get("optionId").and_then(Value::as_str).filter(|_| outcome["outcome"] == "selected");
    let Some(chosen) = chosen else { return (outcome["outcome"] == "cancelled").then(cancelled) };
    Some(match request {
        InputRequest::Permission { options: Some(options), .. } if !options.is_empty() => {
            InputAnswer { option_id: Some(chosen.to_owned()), ..InputAnswer::default() }
        }
        InputRequest::Permission { .. } | InputRequest::Confirm { .. } => {
            InputAnswer { confirmed: Some(chosen == "yes"), ..InputAnswer::default() }
        }
        InputRequest::Select { options, .. } => {
            let option = chosen.strip_prefix("choice_").and_then(|n| options.get(n.parse::<usize>().ok()?));
            option.map_or_else(cancelled, |option| InputAnswer { value: Some(option.clone()), ..InputAnswer::default() })
        }
        InputRequest::Input { .. } | InputRequest::Editor { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn permission() -> InputRequest {
        serde_json::from_value(json!({
            "type": "permission", "request_id": "q", "title": "Run bash?",
            "metadata": {"tool": "bash", "tool_call_id": "call_1", "command": "rm x"},
            "options": [{"option_id": "allow_once", "label": "Allow once", "kind": "allow_once"},
                        {"option_id": "deny_tool", "label": "Never", "kind": "deny_always"}],
        }))
        .unwrap()
    }

    #[test]
    fn a_permission_is_asked_with_the_options_that_it_has() {
        let Put::Request(method, params) = put("s", &permission(), true) else { panic!() };
        assert_eq!(method, "session/request_permission");
        assert_eq!(params["toolCall"]["toolCallId"], "call_1");
        assert_eq!((&params["toolCall"]["title"], &params["toolCall"]["kind"]), (&json!("rm x"), &json!("execute")));
        assert_eq!(params["options"][1], json!({"optionId": "deny_tool", "name": "Never", "kind": "reject_always"}));
        let chosen = answer(&permission(), &json!({"outcome": {"outcome": "selected", "optionId": "deny_tool"}})).unwrap();
        assert_eq!(chosen.option_id.as_deref(), Some("deny_tool"));
        assert_eq!(answer(&permission(), &json!({"outcome": {"outcome": "cancelled"}})).unwrap().cancelled, Some(true));
        assert!(answer(&permission(), &json!({})).is_none());
    }

    #[test]
    fn a_choice_is_a_form_or_options_and_comes_back_as_what_was_chosen() {
        let select: InputRequest =
            serde_json::from_value(json!({"type": "select", "request_id": "q", "title": "Which?", "options": ["Red", "Blue"]})).unwrap();
        let Put::Request("elicitation/create", params) = put("s", &select, true) else { panic!() };
        assert_eq!(params["requestedSchema"]["properties"]["answer"]["enum"], json!(["Red", "Blue"]));
        let blue = Some("Blue".to_owned());
        assert_eq!(answer(&select, &json!({"action": "accept", "content": {"answer": "Blue"}})).unwrap().value, blue);
        let Put::Request("session/request_permission", params) = put("s", &select, false) else { panic!() };
        assert_eq!(params["options"].as_array().unwrap().len(), 3);
        assert_eq!(answer(&select, &json!({"outcome": {"outcome": "selected", "optionId": "choice_1"}})).unwrap().value, blue);
        assert_eq!(answer(&select, &json!({"outcome": {"outcome": "selected", "optionId": "dismiss"}})).unwrap().cancelled, Some(true));
        let input: InputRequest = serde_json::from_value(json!({"type": "input", "request_id": "q", "title": "Name?"})).unwrap();
        assert!(matches!(put("s", &input, false), Put::Elsewhere(_)));
    }
}
