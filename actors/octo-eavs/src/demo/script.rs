//! The script language of the demonstration model: `@demo [TURN, …]` in a prompt, one JSON object per model turn.
//!
//! | key | meaning |
//! |---|---|
//! | `text` | what is said; `{{model}}` in it is the model that was asked, `{{images}}` how many pictures the user's messages have |
//! | `chunks` | in how many pieces it is streamed (default 1) |
//! | `delay_ms` | pause before every piece but the first |
//! | `thinking` | thought before it |
//! | `tools` | `[{"name", "input"}]`; `bash read write edit` become the tools that the request offers |
//! | `bytes` | filler text of that size, after `text` |
//! | `usage` | `{input, output, cache_read, cache_write}` to report |
//! | `status`, `times`, `retry_after` | fail with this HTTP status that often (default once), then answer |
//! | `cut_after` | close the connection after that many pieces |
//! | `malformed` | send a broken piece and end |

use std::time::Duration;

use serde_json::{Map, Value};

use crate::usage::Tokens;

/// Turns of one script.
pub const MAX_TURNS: usize = 1000;
/// Size of a turn's filler text.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Pause between two pieces, in milliseconds.
pub const MAX_DELAY_MS: u64 = 60_000;
/// Pieces of one turn.
pub const MAX_CHUNKS: u64 = 100_000;
/// Tool calls of one turn.
pub const MAX_TOOLS: usize = 100;
/// How often one turn may fail.
pub const MAX_TIMES: u64 = 1000;

const KEYS: [&str; 12] =
    ["text", "chunks", "delay_ms", "thinking", "tools", "bytes", "usage", "status", "times", "retry_after", "cut_after", "malformed"];

/// One model turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    /// What is said.
    pub text: String,
    /// Pieces of it; `None` if the script does not say.
    pub chunks: Option<u64>,
    /// Pause before every piece but the first.
    pub delay: Duration,
    /// What is thought before.
    pub thinking: Option<String>,
    /// Tools that are called after.
    pub tools: Vec<ToolCall>,
    /// Size of the filler text.
    pub bytes: u64,
    /// What to report; estimated if absent.
    pub usage: Option<Tokens>,
    /// Failure before the answer.
    pub failure: Option<Failure>,
    /// Pieces after which the connection is closed.
    pub cut_after: Option<u64>,
    /// Send a broken piece and end.
    pub malformed: bool,
}

/// A failure that goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// How often.
    pub times: u64,
    /// Seconds for `retry-after`.
    pub retry_after: Option<u64>,
}

/// A tool as the script names it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// `bash`, `read`, `write`, `edit`, or a name as offered.
    pub name: String,
    /// Its input.
    pub input: Map<String, Value>,
}

/// Where a text has a script, if it has one: what follows `@demo`, from its bracket on.
///
/// `@demo` stands at the start of a word. A conversation that is quoted for a summary is not a request to play it again.
pub fn find(text: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(at) = text[from..].find("@demo").map(|n| n + from) {
        from = at + "@demo".len();
        let before = text[..at].chars().next_back();
        let quoted = text[..at].rfind("<conversation>").is_some_and(|open| text[open..at].find("</conversation>").is_none());
        if quoted || before.is_some_and(|c| !c.is_whitespace() && !"\"'`(>*_".contains(c)) {
            continue;
        }
        let mut rest = text[from..].trim_start();
        if let Some(fenced) = rest.strip_prefix("```") {
            rest = fenced.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).trim_start();
        }
        if rest.starts_with(['[', '{']) {
            return Some(rest);
        }
    }
    None
}

/// Reads the turns; what follows the JSON is ignored. The error is a sentence for the one who wrote the script.
pub fn parse(text: &str) -> Result<Vec<Turn>, String> {
    let value = match serde_json::Deserializer::from_str(text).into_iter::<Value>().next() {
        Some(Ok(value)) => value,
        Some(Err(e)) => {
            return Err(format!("the JSON after @demo cannot be read: {e} (counted from its first bracket)"));
        }
        None => return Err("there is no JSON after @demo".to_owned()),
    };
    let turns = match value {
        Value::Array(turns) => turns,
        one => vec![one],
    };
    if turns.is_empty() || turns.len() > MAX_TURNS {
        return Err(format!("a script has 1 to {MAX_TURNS} turns, this one has {}", turns.len()));
    }
    turns.into_iter().enumerate().map(|(n, value)| turn(value).map_err(|e| format!("turn {}: {e}", n + 1))).collect()
}

fn turn(value: Value) -> Result<Turn, String> {
    let mut map = match value {
        Value::Object(map) => map,
        Value::String(text) => {
            return Ok(Turn { text, ..Turn::default() });
        }
        _ => return Err("a turn is an object like {\"text\": \"hello\"}".to_owned()),
    };
    if let Some(unknown) = map.keys().find(|k| !KEYS.contains(&k.as_str())) {
        return Err(format!("there is no key {unknown:?}; the keys are {}", KEYS.join(", ")));
    }
    let status = number(&map, "status", 599)?;
    let times = number(&map, "times", MAX_TIMES)?;
    let retry_after = number(&map, "retry_after", 86_400)?;
    let failure = match status {
        Some(status @ 400..=599) => Some(Failure { status: u16::try_from(status).unwrap_or(500), times: times.unwrap_or(1), retry_after }),
        Some(_) => return Err("status is a number from 400 to 599".to_owned()),
        None if times.is_some() || retry_after.is_some() => {
            return Err("times and retry_after belong to status".to_owned());
        }
        None => None,
    };
    Ok(Turn {
        chunks: number(&map, "chunks", MAX_CHUNKS)?.map(|n| n.max(1)),
        delay: Duration::from_millis(number(&map, "delay_ms", MAX_DELAY_MS)?.unwrap_or(0)),
        bytes: number(&map, "bytes", MAX_BYTES)?.unwrap_or(0),
        cut_after: number(&map, "cut_after", MAX_CHUNKS)?,
        malformed: match map.get("malformed") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(b)) => *b,
            Some(_) => return Err("malformed is true or false".to_owned()),
        },
        usage: match map.get("usage") {
            None | Some(Value::Null) => None,
            Some(Value::Object(usage)) => Some(tokens(usage)?),
            Some(_) => {
                return Err("usage is an object like {\"input\": 10, \"output\": 5}".to_owned());
            }
        },
        tools: tools(map.remove("tools"))?,
        text: text(&mut map, "text")?.unwrap_or_default(),
        thinking: text(&mut map, "thinking")?,
        failure,
    })
}

fn number(map: &Map<String, Value>, key: &str, max: u64) -> Result<Option<u64>, String> {
    let value = match map.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_u64(),
    };
    match value {
        Some(n) if n <= max => Ok(Some(n)),
        _ => Err(format!("{key} is a whole number from 0 to {max}")),
    }
}

fn text(map: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match map.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(n)) => Ok(Some(n.to_string())),
        Some(_) => Err(format!("{key} is a string")),
    }
}

fn tokens(usage: &Map<String, Value>) -> Result<Tokens, String> {
    let names = ["input", "output", "cache_read", "cache_write"];
    if let Some(unknown) = usage.keys().find(|k| !names.contains(&k.as_str())) {
        return Err(format!("usage has no {unknown:?}; it has {}", names.join(", ")));
    }
    let get = |key| number(usage, key, 1_000_000_000).map(Option::unwrap_or_default);
    Ok(Tokens { input: get("input")?, output: get("output")?, cache_read: get("cache_read")?, cache_write: get("cache_write")? })
}

fn tools(value: Option<Value>) -> Result<Vec<ToolCall>, String> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    if list.len() > MAX_TOOLS {
        return Err(format!("a turn has at most {MAX_TOOLS} tools"));
    }
    let shape = "a tool is an object like {\"name\": \"bash\", \"input\": {\"command\": \"ls\"}}";
    list.into_iter()
        .map(|value| {
            let Value::Object(mut tool) = value else {
                return Err(shape.to_owned());
            };
            let Some(Value::String(name)) = tool.remove("name") else {
                return Err(shape.to_owned());
            };
            let input = match tool.remove("input") {
                None | Some(Value::Null) => Map::new(),
                Some(Value::Object(input)) => input,
                Some(_) => return Err(shape.to_owned()),
            };
            match tool.keys().next() {
                Some(unknown) => Err(format!("a tool has name and input, not {unknown:?}")),
                None => Ok(ToolCall { name, input }),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_script_is_found_where_a_person_would_put_one() {
        for (text, want) in [
            ("@demo [1]", Some("[1]")),
            ("please run\n@demo   [{}] thanks", Some("[{}] thanks")),
            ("use `@demo` and then @demo [2]", Some("[2]")),
            ("@demo\n```json\n[3]\n```", Some("[3]\n```")),
            ("@demo {\"text\":1}", Some("{\"text\":1}")),
            ("@demo please", None),
            ("me@demo [1]", None),
            ("<conversation>\n[User]: @demo [1]\n</conversation>\nsummarise", None),
            ("@demo", None),
        ] {
            assert_eq!(find(text), want, "{text:?}");
        }
    }

    #[test]
    fn every_key_is_read() {
        let turns = parse(
            r#"[{"text":"a","chunks":3,"delay_ms":5,"thinking":"hm","tools":[{"name":"bash","input":{"command":"ls"}},{"name":"x"}],
            "bytes":10,"usage":{"input":1,"output":2,"cache_read":3,"cache_write":4},"status":529,"times":2,"retry_after":1,"cut_after":4,"malformed":true},
            "just text"] and more"#,
        )
        .unwrap();
        assert_eq!(turns.len(), 2);
        assert_eq!(turns[1].text, "just text");
        let t = &turns[0];
        assert_eq!((t.chunks, t.bytes, t.cut_after, t.malformed), (Some(3), 10, Some(4), true));
        assert_eq!(t.failure, Some(Failure { status: 529, times: 2, retry_after: Some(1) }));
        assert_eq!(t.tools.len(), 2);
        assert_eq!(t.usage.map(|u| u.cache_write), Some(4));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, want) in [
            ("[{\"text\":", "cannot be read"),
            ("[]", "1 to 1000"),
            ("[{\"txt\":1}]", "turn 1: there is no key \"txt\""),
            ("[{},{\"chunks\":-1}]", "turn 2: chunks is a whole number"),
            ("[{\"bytes\":67108865}]", "bytes"),
            ("[{\"delay_ms\":60001}]", "delay_ms"),
            ("[{\"status\":200}]", "400 to 599"),
            ("[{\"times\":2}]", "belong to status"),
            ("[{\"tools\":[{\"input\":{}}]}]", "a tool is an object"),
            ("[3]", "a turn is an object"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(want), "{text} said {said}");
        }
    }
}
