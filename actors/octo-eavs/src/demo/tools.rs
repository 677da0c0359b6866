//! Maps the script's `bash read write edit` to the tools that a request offers: their names and their input's shape.

use serde_json::{Map, Value, json};

use super::script::ToolCall;

/// A tool that the request offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// JSON Schema of its input.
    pub schema: Value,
}

impl Offered {
    /// Reads it in any of the three dialects.
    pub fn parse(tool: &Value) -> Option<Self> {
        let inner = tool.get("function").unwrap_or(tool);
        let schema = inner.get("input_schema").or_else(|| inner.get("parameters")).cloned().unwrap_or(Value::Null);
        Some(Self { name: inner.get("name")?.as_str()?.to_owned(), schema })
    }

    fn has(&self, property: &str) -> bool {
        self.schema.pointer(&format!("/properties/{property}")).is_some()
    }

    fn kind(&self, property: &str) -> Option<&str> {
        self.schema.pointer(&format!("/properties/{property}/type"))?.as_str()
    }
}

/// What agents call the four tools, besides these names in any case.
const ALIASES: [(&str, &[&str]); 4] = [
    ("bash", &["shell", "exec_command", "run_shell_command", "execute_command", "run_command", "terminal", "local_shell"]),
    ("read", &["read_file", "view", "readfile"]),
    ("write", &["write_file", "create_file", "writefile", "write_to_file"]),
    ("edit", &["edit_file", "replace", "str_replace", "replace_in_file", "editfile"]),
];

/// Names of one and the same property in different agents' schemas.
const PROPERTIES: [&[&str]; 5] = [
    &["command", "cmd", "script"],
    &["path", "file_path", "filePath", "absolute_path", "filename", "file"],
    &["content", "contents", "file_text", "text"],
    &["oldText", "old_string", "oldString", "old_text", "old_str", "old"],
    &["newText", "new_string", "newString", "new_text", "new_str", "new"],
];
const OLD: usize = 3;
const NEW: usize = 4;

/// The call as the request's tools want it; a tool that is not offered is passed as given.
pub fn resolve(call: &ToolCall, offered: &[Offered]) -> (String, Map<String, Value>) {
    let exact = offered.iter().find(|o| o.name == call.name);
    let alike = || offered.iter().find(|o| o.name.eq_ignore_ascii_case(&call.name));
    let alias = || {
        let (_, names) = ALIASES.iter().find(|(name, _)| call.name.eq_ignore_ascii_case(name))?;
        names.iter().find_map(|n| offered.iter().find(|o| o.name.eq_ignore_ascii_case(n)))
    };
    let Some(tool) = exact.or_else(alike).or_else(alias) else {
        return (call.name.clone(), call.input.clone());
    };
    if !ALIASES.iter().any(|(name, _)| call.name.eq_ignore_ascii_case(name)) {
        return (tool.name.clone(), call.input.clone());
    }
    (tool.name.clone(), shape(&call.input, tool))
}

fn shape(input: &Map<String, Value>, tool: &Offered) -> Map<String, Value> {
    let mut out = Map::new();
    let mut replacement = Map::new();
    let listed = tool.has("edits") && !input.contains_key("edits");
    for (key, value) in input {
        let group = PROPERTIES.iter().position(|names| names.contains(&key.as_str()));
        match group {
            Some(group @ (OLD | NEW)) if listed => {
                let name = item_property(tool, PROPERTIES[group]).unwrap_or(PROPERTIES[group][0]);
                replacement.insert(name.to_owned(), value.clone());
            }
            Some(group) if !tool.has(key) => {
                let name = PROPERTIES[group].iter().find(|n| tool.has(n)).map_or(key.as_str(), |n| *n);
                out.insert(name.to_owned(), value.clone());
            }
            _ => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    if !replacement.is_empty() {
        out.insert("edits".to_owned(), json!([replacement]));
    }
    for name in PROPERTIES[0] {
        if let (Some(Value::String(command)), Some("array")) = (out.get(*name), tool.kind(name)) {
            let argv = json!(["bash", "-lc", command]);
            out.insert((*name).to_owned(), argv);
        }
    }
    let required = tool.schema.get("required").and_then(Value::as_array);
    if required.is_some_and(|r| r.iter().any(|n| n == "description")) && !out.contains_key("description") {
        out.insert("description".to_owned(), json!("A step of the demonstration script"));
    }
    out
}

fn item_property(tool: &Offered, names: &'static [&'static str]) -> Option<&'static str> {
    let items = tool.schema.pointer("/properties/edits/items/properties")?;
    names.iter().copied().find(|n| items.get(n).is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn offered(list: Value) -> Vec<Offered> {
        list.as_array().unwrap().iter().filter_map(Offered::parse).collect()
    }

    fn call(name: &str, input: Value) -> ToolCall {
        ToolCall { name: name.to_owned(), input: input.as_object().unwrap().clone() }
    }

    fn properties(names: &[&str]) -> Value {
        let map: Map<String, Value> = names.iter().map(|n| ((*n).to_owned(), json!({"type": "string"}))).collect();
        json!({"type": "object", "properties": map})
    }

    #[test]
    fn the_four_tools_take_the_names_and_shapes_on_offer() {
        let pi_edit =
            json!({"type": "object", "properties": {"path": {}, "edits": {"items": {"properties": {"oldText": {}, "newText": {}}}}}});
        let pi = offered(json!([
            {"name": "bash", "input_schema": properties(&["command"])},
            {"name": "edit", "input_schema": pi_edit},
        ]));
        let claude = offered(json!([
            {"name": "Bash", "input_schema": {"properties": {"command": {"type": "string"}}, "required": ["command", "description"]}},
            {"name": "Edit", "input_schema": properties(&["file_path", "old_string", "new_string"])},
        ]));
        let codex = offered(json!([
            {"type": "function", "name": "shell", "parameters": {"properties": {"command": {"type": "array"}}}},
        ]));
        let opencode = offered(json!([
            {"type": "function", "function": {"name": "write", "parameters": properties(&["filePath", "content"])}},
        ]));
        let bash = call("bash", json!({"command": "ls"}));
        let edit = call("edit", json!({"path": "f", "old": "a", "new": "b"}));
        let shown = |call: &ToolCall, tools: &[Offered]| {
            let (name, input) = resolve(call, tools);
            json!([name, input])
        };
        assert_eq!(shown(&bash, &pi), json!(["bash", {"command": "ls"}]));
        assert_eq!(shown(&edit, &pi), json!(["edit", {"path": "f", "edits": [{"oldText": "a", "newText": "b"}]}]));
        let described = json!(["Bash", {"command": "ls", "description": "A step of the demonstration script"}]);
        assert_eq!(shown(&bash, &claude), described);
        assert_eq!(shown(&edit, &claude), json!(["Edit", {"file_path": "f", "old_string": "a", "new_string": "b"}]));
        assert_eq!(shown(&bash, &codex), json!(["shell", {"command": ["bash", "-lc", "ls"]}]));
        let write = call("write", json!({"path": "f", "content": "x"}));
        assert_eq!(shown(&write, &opencode), json!(["write", {"filePath": "f", "content": "x"}]));
        assert_eq!(shown(&call("todo", json!({"path": 1})), &pi), json!(["todo", {"path": 1}]));
    }
}
