//! A permission as a person decides on it: the tool, and its command, path or change.

use super::wire::CanUseTool;
use octo_protocol::input::{InputRequest, PermissionKind, PermissionOption};
use serde_json::{Map, Value};

/// Most characters of a value that is shown.
const SHOWN: usize = 20_000;

/// A text as far as it is shown.
#[must_use]
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

fn shortened_value(value: &Value) -> Value {
    match value {
        Value::String(text) => shortened(text).into(),
        Value::Array(values) => values.iter().map(shortened_value).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shortened_value(value))).collect::<Map<_, _>>().into(),
        other => other.clone(),
    }
}

/// The request, and the permission updates of its "always".
#[must_use]
pub fn request(id: &str, ask: &CanUseTool) -> (InputRequest, Vec<Value>) {
    let suggested = ask.permission_suggestions.as_deref().unwrap_or_default();
    let (always, label) = lasting(suggested, ask.suppress_always_allow_rule == Some(true));
    let option = |option_id: &str, label: &str, kind| PermissionOption { option_id: option_id.to_owned(), label: label.to_owned(), kind };
    let mut options = vec![option("allow_once", "Allow once", PermissionKind::AllowOnce)];
    if !always.is_empty() {
        options.push(option("allow_always", label, PermissionKind::AllowAlways));
    }
    options.push(option("deny_once", "Deny", PermissionKind::DenyOnce));
    let name = ask.display_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&ask.tool_name);
    let request = InputRequest::Permission {
        request_id: id.to_owned(),
        title: format!("Allow {name}?"),
        description: ask.description.as_deref().filter(|text| !text.is_empty()).map(shortened),
        metadata: Some(metadata(ask)),
        options: Some(options),
    };
    (request, always)
}

/// Suggestions are alternatives: taking all of them would also switch the mode of the session. What is kept is kept for the session only; what lasts longer
/// is octo's to decide.
fn lasting(suggested: &[Value], suppressed: bool) -> (Vec<Value>, &'static str) {
    let of = |kind: &str| -> Vec<Value> {
        let matching = suggested.iter().filter(|suggestion| suggestion.is_object() && suggestion["type"] == kind);
        let session = |suggestion: &Value| {
            let mut suggestion = suggestion.clone();
            suggestion["destination"] = "session".into();
            suggestion
        };
        matching.map(session).collect()
    };
    if suppressed {
        return (Vec::new(), "");
    }
    let rules: Vec<Value> = of("addRules").into_iter().filter(|rule| rule["behavior"] == "allow").collect();
    if !rules.is_empty() {
        return (rules, "Always allow in this session");
    }
    let modes = of("setMode").into_iter().filter(|mode| mode["mode"] == "acceptEdits").take(1).collect();
    (modes, "Allow all edits in this session")
}

fn metadata(ask: &CanUseTool) -> Value {
    let input = &ask.input;
    let text = |names: &[&str]| names.iter().find_map(|name| input[*name].as_str()).map(shortened);
    let mut shown = Map::new();
    let mut show = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            shown.insert(name.to_owned(), value.into());
        }
    };
    let (command, path, url) = (text(&["command"]), text(&["file_path", "path", "notebook_path"]), text(&["url"]));
    let diff = diff(input);
    let told = command.is_some() || diff.is_some() || url.is_some();
    show("tool", Some(ask.tool_name.clone()));
    show("command", command);
    show("path", path);
    show("diff", diff);
    show("url", url);
    show("blocked_path", ask.blocked_path.as_deref().map(shortened));
    show("reason", ask.decision_reason.as_deref().map(shortened));
    show("tool_call_id", ask.tool_use_id.clone());
    if !told {
        shown.insert("input".to_owned(), shortened_value(input));
    }
    shown.into()
}

/// The change that an editing tool would make, as a unified diff without line numbers to trust.
fn diff(input: &Value) -> Option<String> {
    let mut text = String::new();
    let mut hunk = |old: &str, new: &str| {
        let count = |text: &str| text.lines().count();
        text.push_str(&format!("@@ -1,{} +1,{} @@\n", count(old), count(new)));
        for (sign, lines) in [('-', old), ('+', new)] {
            for line in lines.lines() {
                text.push(sign);
                text.push_str(line);
                text.push('\n');
            }
        }
    };
    let pair = |value: &Value| Some((value["old_string"].as_str()?.to_owned(), value["new_string"].as_str()?.to_owned()));
    let edits = input["edits"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (old, new) in pair(input).into_iter().chain(edits.iter().filter_map(pair)) {
        hunk(&old, &new);
    }
    if let (Some(content), Some(_)) = (input["content"].as_str(), input["file_path"].as_str()) {
        hunk("", content);
    }
    (!text.is_empty()).then(|| shortened(&text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn asked(value: Value) -> (Value, Vec<Value>) {
        let (request, always) = request("r", &serde_json::from_value(value).unwrap());
        (serde_json::to_value(request).unwrap(), always)
    }

    #[test]
    fn an_edit_shows_its_path_and_its_change() {
        let input = json!({"file_path": "/w/a.txt", "old_string": "two", "new_string": "2\n3", "replace_all": false});
        let (request, always) = asked(json!({"tool_name": "Edit", "input": input, "tool_use_id": "t",
            "permission_suggestions": [{"type": "setMode", "mode": "acceptEdits", "destination": "session"}]}));
        let expected = json!({"tool": "Edit", "path": "/w/a.txt", "diff": "@@ -1,1 +1,2 @@\n-two\n+2\n+3\n", "tool_call_id": "t"});
        assert_eq!(request["metadata"], expected);
        assert_eq!(request["options"][1]["label"], "Allow all edits in this session");
        assert_eq!(always, [json!({"type": "setMode", "mode": "acceptEdits", "destination": "session"})]);
    }

    #[test]
    fn of_alternative_suggestions_only_the_rules_are_taken_and_for_the_session() {
        let rule = json!({"type": "addRules", "rules": [{"toolName": "Bash", "ruleContent": "ls *"}], "behavior": "allow", "destination": "localSettings"});
        let others = json!([rule, {"type": "addDirectories", "directories": ["/w"]}, {"type": "setMode", "mode": "acceptEdits"}]);
        let (request, always) = asked(json!({"tool_name": "Bash", "input": {"command": "ls"}, "permission_suggestions": others}));
        assert_eq!(request["metadata"], json!({"tool": "Bash", "command": "ls"}));
        assert_eq!((always.len(), &always[0]["destination"], &always[0]["type"]), (1, &json!("session"), &json!("addRules")));
        let (request, always) =
            asked(json!({"tool_name": "Bash", "input": {}, "permission_suggestions": [rule], "suppress_always_allow_rule": true}));
        assert!(always.is_empty());
        assert_eq!(request["options"].as_array().unwrap().len(), 2);
    }
}
