//! Tool calls, as an editor shows them: a title, a kind, the files they touch, their output.

use serde_json::{Value, json};

/// Longest title, in characters.
const TITLE_CHARS: usize = 200;
/// Largest text of an output that is passed on, in bytes; the whole of it is in octo's history.
const OUTPUT_BYTES: usize = 256 * 1024;

/// What a tool does, in the words of ACP.
#[must_use]
pub fn kind(name: &str) -> &'static str {
    let name = name.rsplit("__").next().unwrap_or(name).to_ascii_lowercase();
    match name.as_str() {
        "bash" | "shell" | "exec" | "execute" | "bashoutput" | "killshell" | "run" => "execute",
        "read" | "ls" | "cat" | "notebookread" | "view" => "read",
        "edit" | "write" | "multiedit" | "notebookedit" | "create" | "patch" | "apply_patch" => "edit",
        "delete" | "rm" => "delete",
        "move" | "rename" | "mv" => "move",
        "grep" | "find" | "glob" | "search" | "websearch" | "web_search" => "search",
        "fetch" | "webfetch" | "web_fetch" => "fetch",
        "think" | "task" | "agent" | "todowrite" => "think",
        "exitplanmode" | "enterplanmode" => "switch_mode",
        _ => "other",
    }
}

/// One line that says what a call is about.
#[must_use]
pub fn title(name: &str, input: Option<&Value>) -> String {
    let about = input.and_then(|input| {
        let keys = ["command", "path", "file_path", "notebook_path", "pattern", "query", "url", "description"];
        keys.into_iter().find_map(|key| input.get(key)?.as_str())
    });
    let text = match about {
        Some(command) if kind(name) == "execute" => command.to_owned(),
        Some(about) => format!("{name} {about}"),
        None => name.to_owned(),
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TITLE_CHARS).collect();
    if line.trim().is_empty() { name.to_owned() } else { line }
}

/// The files that a call touches.
#[must_use]
pub fn locations(input: Option<&Value>) -> Vec<Value> {
    let path = input.and_then(|input| ["path", "file_path", "notebook_path"].into_iter().find_map(|key| input.get(key)?.as_str()));
    // Editors open what is named here: only whole paths.
    path.filter(|path| path.starts_with('/')).map(|path| json!({ "path": path })).into_iter().collect()
}

/// The change that a call makes, when its input says it.
#[must_use]
pub fn change(name: &str, input: Option<&Value>) -> Vec<Value> {
    let Some(input) = input.filter(|_| kind(name) == "edit") else { return Vec::new() };
    let text = |of: &Value, keys: &[&str]| keys.iter().find_map(|key| of.get(key)?.as_str().map(str::to_owned));
    let Some(path) = text(input, &["path", "file_path"]) else { return Vec::new() };
    let diff = |old: Option<String>, new: String| json!({ "type": "diff", "path": path, "oldText": old, "newText": new });
    let edit = |of: &Value| Some(diff(text(of, &["oldText", "old_string", "old_text"]), text(of, &["newText", "new_string", "new_text"])?));
    if let Some(content) = text(input, &["content"]) {
        return vec![diff(None, content)];
    }
    match input.get("edits").and_then(Value::as_array) {
        Some(edits) => edits.iter().filter_map(edit).collect(),
        None => edit(input).into_iter().collect(),
    }
}

/// An output as content: its texts and images.
#[must_use]
pub fn output(output: &Value) -> Vec<Value> {
    let content = |block: Value| json!({ "type": "content", "content": block });
    let text = |text: &str| content(super::content::text(&cut(text)));
    match output {
        Value::Null => Vec::new(),
        Value::String(said) => vec![text(said)],
        Value::Object(object) => match object.get("content") {
            Some(Value::Array(blocks)) => blocks
                .iter()
                .filter_map(|block| match block["type"].as_str() {
                    Some("text") => Some(text(block["text"].as_str()?)),
                    Some("image") => {
                        let (data, mime) = (block["data"].as_str()?, block["mimeType"].as_str()?);
                        Some(content(json!({ "type": "image", "data": data, "mimeType": mime })))
                    }
                    _ => None,
                })
                .collect(),
            Some(Value::String(said)) => vec![text(said)],
            _ => vec![text(&output.to_string())],
        },
        other => vec![text(&other.to_string())],
    }
}

/// Its end, which says how it came out, is kept.
fn cut(text: &str) -> String {
    if text.len() <= OUTPUT_BYTES {
        return text.to_owned();
    }
    let mut from = text.len() - OUTPUT_BYTES;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    format!("[{from} bytes before this are in octo's history]\n{}", &text[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_what_it_does_and_to_what() {
        assert_eq!((kind("Bash"), title("bash", Some(&json!({"command": "ls\n-l"})))), ("execute", "ls -l".to_owned()));
        assert_eq!(title("read", Some(&json!({"path": "/a"}))), "read /a");
        assert_eq!((kind("mcp__octo__ask"), title("mcp__octo__ask", None)), ("other", "mcp__octo__ask".to_owned()));
        assert_eq!(locations(Some(&json!({"file_path": "/a"}))), [json!({"path": "/a"})]);
        assert!(locations(Some(&json!({"path": "a"}))).is_empty());
    }

    #[test]
    fn a_change_is_shown_as_a_diff() {
        let written = change("write", Some(&json!({"path": "/a", "content": "x"})));
        assert_eq!(written, [json!({"type": "diff", "path": "/a", "oldText": null, "newText": "x"})]);
        let edited = change("Edit", Some(&json!({"file_path": "/a", "old_string": "x", "new_string": "y"})));
        assert_eq!(edited, [json!({"type": "diff", "path": "/a", "oldText": "x", "newText": "y"})]);
        assert!(change("bash", Some(&json!({"command": "x"}))).is_empty());
    }

    #[test]
    fn of_a_long_output_the_end_is_shown() {
        let long = "ä".repeat(OUTPUT_BYTES);
        let shown = output(&json!({"content": [{"type": "text", "text": long}]}));
        let text = shown[0]["content"]["text"].as_str().unwrap_or_default();
        assert!(text.starts_with('[') && text.len() < OUTPUT_BYTES + 100, "{}", text.len());
    }
}
