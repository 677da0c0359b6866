//! Version 1 of the protocol, read into what octo makes of it. A second version is a second file like this one.
//!
//! The shapes are written by hand after the schema of version 1 (and held by recordings of five agents): the crate with the types would switch on the order of
//! members in every JSON object of octo, and what is not known of a message is to be skipped, and the rest kept.

use super::settings::{ConfigChoice, ConfigOption};
use super::tools::Change;
use octo_protocol::input::{PermissionKind, PermissionOption};
use octo_protocol::part::{ExtensionPart, KnownPart, MediaSource, Part};
use octo_protocol::session::SlashCommand;
use serde::de::Error as _;
use serde_json::Value;
use serde_json::value::RawValue;

/// The version.
pub const VERSION: u64 = 1;
/// Most entries of a plan that are shown.
const MAX_PLAN: usize = 100;

/// A piece of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Text(String),
    /// Anything else, whole, as a part without an id.
    Other(Box<Part>),
}

/// What an agent says of its conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A piece of its answer.
    Said {
        piece: Piece,
        message: Option<String>,
    },
    /// A piece of what it thinks.
    Thought {
        piece: Piece,
        message: Option<String>,
    },
    /// A piece of what a person said: it comes when a conversation is loaded.
    Echo,
    Tool(Box<Change>),
    Plan(Option<String>),
    Commands(Vec<SlashCommand>),
    Mode(String),
    Config(Vec<ConfigOption>),
    Title(String),
    /// Tokens in its context, and what the conversation has cost in US dollars.
    Context {
        cost: Option<f64>,
    },
    /// A kind that octo does not know, or that says nothing.
    Other,
}

/// What an agent says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agent {
    pub version: u64,
    /// The name that it gives itself, and the one for people.
    pub name: String,
    pub title: String,
    pub loads: bool,
    pub resumes: bool,
    pub images: bool,
    /// How to log in: ids and what they say.
    pub logins: Vec<(String, String)>,
}

/// A conversation as it begins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opened {
    /// Absent where the request named it.
    pub id: Option<String>,
    pub options: Vec<ConfigOption>,
    /// The mode that it is in, and those that there are, where the agent speaks of modes.
    pub modes: Option<(String, Vec<String>)>,
}

/// How a prompt ended, and what it used.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ended {
    pub reason: String,
    /// Input, output, cache read, cache write.
    pub tokens: Option<[u64; 4]>,
}

/// A permission that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    pub change: Change,
    pub options: Vec<PermissionOption>,
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Reads the parameters of `session/update`.
///
/// # Errors
/// When an update of a known kind is not what its kind says.
pub fn update(params: &RawValue) -> serde_json::Result<Update> {
    let mut params: Value = serde_json::from_str(params.get())?;
    let mut update = params["update"].take();
    let kind = text(&update["sessionUpdate"]).unwrap_or_default();
    let message = text(&update["messageId"]);
    Ok(match kind.as_str() {
        "user_message_chunk" => Update::Echo,
        "agent_message_chunk" => Update::Said { piece: piece(update["content"].take())?, message },
        "agent_thought_chunk" => Update::Thought { piece: piece(update["content"].take())?, message },
        "tool_call" | "tool_call_update" => Update::Tool(Box::new(change(update)?)),
        "plan" => Update::Plan(plan(&update["entries"])),
        "available_commands_update" => Update::Commands(list(&update["availableCommands"]).iter().filter_map(command).collect()),
        "current_mode_update" => match text(&update["currentModeId"]) {
            Some(mode) => Update::Mode(mode),
            None => return Err(serde_json::Error::custom("it names no mode")),
        },
        "config_option_update" => Update::Config(options(&update["configOptions"])),
        "session_info_update" => match text(&update["title"]).filter(|title| !title.trim().is_empty()) {
            Some(title) => Update::Title(title),
            None => Update::Other,
        },
        "usage_update" => {
            let cost = &update["cost"];
            Update::Context { cost: cost["amount"].as_f64().filter(|_| cost["currency"] == "USD") }
        }
        _ => Update::Other,
    })
}

fn piece(block: Value) -> serde_json::Result<Piece> {
    let missing = |what: &str| serde_json::Error::custom(format!("a block without {what}"));
    let id = String::new();
    let part = match block["type"].as_str() {
        Some("text") => return text(&block["text"]).map(Piece::Text).ok_or_else(|| missing("its text")),
        Some("image") => {
            let (data, mime_type) = text(&block["data"]).zip(text(&block["mimeType"])).ok_or_else(|| missing("its data"))?;
            KnownPart::Image { id, source: MediaSource::Base64 { data, mime_type }, alt: None }.into()
        }
        Some("resource_link") => {
            let uri = text(&block["uri"]).ok_or_else(|| missing("its address"))?;
            KnownPart::FileRef { id, uri, label: text(&block["name"]), range: None }.into()
        }
        Some(_) => Part::Extension(ExtensionPart { kind: "x-acp-block".to_owned(), id, payload: Some(block), meta: None }),
        None => return Err(missing("a type")),
    };
    Ok(Piece::Other(Box::new(part)))
}

fn plan(entries: &Value) -> Option<String> {
    let line = |entry: &Value| {
        let mark = match entry["status"].as_str() {
            Some("completed") => "✓",
            Some("in_progress") => "▸",
            _ => "·",
        };
        format!("{mark} {}", entry["content"].as_str().unwrap_or_default())
    };
    let lines: Vec<String> = list(entries).iter().take(MAX_PLAN).map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn command(value: &Value) -> Option<SlashCommand> {
    let description = text(&value["description"]).unwrap_or_default();
    Some(SlashCommand { name: text(&value["name"])?, description, kind: "command".to_owned() })
}

/// A tool call, or what has changed of it.
fn change(mut update: Value) -> serde_json::Result<Change> {
    let id =
        text(&update["toolCallId"]).filter(|id| !id.is_empty()).ok_or_else(|| serde_json::Error::custom("a tool call without an id"))?;
    let told = text(&update["_meta"]["claudeCode"]["toolName"]);
    let some = |value: Value| Some(value).filter(|value| !value.is_null());
    let paths = update["locations"].as_array().map(|all| all.iter().filter_map(|location| text(&location["path"])).collect());
    let content = update["content"].is_array().then(|| update["content"].take());
    let mut change = Change {
        id,
        name: text(&update["name"]).or(told),
        title: text(&update["title"]),
        kind: text(&update["kind"]),
        status: text(&update["status"]),
        appended: text(&update["_meta"]["terminal_output_delta"]["data"]),
        input: some(update["rawInput"].take()),
        output: some(update["rawOutput"].take()),
        paths,
        ..Change::default()
    };
    let Some(Value::Array(blocks)) = content else { return Ok(change) };
    let mut shown = Vec::new();
    for block in blocks {
        match block["type"].as_str() {
            Some("content") => shown.push(block["content"].clone()),
            Some("diff") => {
                let of = |name: &str| text(&block[name]).unwrap_or_default();
                change.diffs.push((of("path"), of("oldText"), of("newText")));
            }
            _ => {}
        }
    }
    change.content = Some(shown);
    Ok(change)
}

fn options(all: &Value) -> Vec<ConfigOption> {
    list(all).iter().filter_map(option).collect()
}

// One that is not understood does not hide the others.
fn option(option: &Value) -> Option<ConfigOption> {
    let choice = |choice: &Value| {
        let value = text(&choice["value"])?;
        Some(ConfigChoice { name: text(&choice["name"]).unwrap_or_else(|| value.clone()), value })
    };
    let (value, choices) = match option["type"].as_str() {
        Some("boolean") => {
            let word = |value: bool| ConfigChoice { value: value.to_string(), name: value.to_string() };
            (option["currentValue"].as_bool()?.to_string(), vec![word(true), word(false)])
        }
        _ => {
            // In groups, or not.
            let all = list(&option["options"]).iter().flat_map(|entry| match entry["options"].as_array() {
                Some(group) => group.iter().collect::<Vec<_>>(),
                None => vec![entry],
            });
            (text(&option["currentValue"])?, all.filter_map(choice).collect())
        }
    };
    Some(ConfigOption { id: text(&option["id"])?, category: text(&option["category"]), value, choices })
}

/// Reads the answer to `initialize`.
///
/// # Errors
/// When it is none.
pub fn agent(result: &RawValue) -> serde_json::Result<Agent> {
    let told: Value = serde_json::from_str(result.get())?;
    let version = told["protocolVersion"].as_u64().ok_or_else(|| serde_json::Error::custom("it names no version"))?;
    let able = &told["agentCapabilities"];
    let login = |method: &Value| Some((text(&method["id"])?, text(&method["name"]).unwrap_or_default()));
    Ok(Agent {
        version,
        name: text(&told["agentInfo"]["name"]).unwrap_or_default(),
        title: text(&told["agentInfo"]["title"]).unwrap_or_default(),
        loads: able["loadSession"] == true,
        resumes: able["sessionCapabilities"]["resume"].is_object(),
        images: able["promptCapabilities"]["image"] == true,
        logins: list(&told["authMethods"]).iter().filter_map(login).collect(),
    })
}

/// Reads the answer to `session/new`, `session/load` or `session/resume`.
///
/// # Errors
/// When it is none.
pub fn opened(result: &RawValue) -> serde_json::Result<Opened> {
    let told: Value = serde_json::from_str(result.get())?;
    let modes = &told["modes"];
    let mode = |mode: &Value| text(&mode["id"]);
    let modes = text(&modes["currentModeId"]).map(|current| (current, list(&modes["availableModes"]).iter().filter_map(mode).collect()));
    Ok(Opened { id: text(&told["sessionId"]), options: options(&told["configOptions"]), modes })
}

/// Reads the answer to `session/set_config_option`.
#[must_use]
pub fn configured(result: &RawValue) -> Option<Vec<ConfigOption>> {
    let told: Value = serde_json::from_str(result.get()).ok()?;
    told["configOptions"].is_array().then(|| options(&told["configOptions"]))
}

/// Reads the answer to `session/prompt`.
///
/// # Errors
/// When it is none.
pub fn ended(result: &RawValue) -> serde_json::Result<Ended> {
    let told: Value = serde_json::from_str(result.get())?;
    let reason = text(&told["stopReason"]).ok_or_else(|| serde_json::Error::custom("it has no stopReason"))?;
    let usage = &told["usage"];
    let tokens = usage.is_object().then(|| {
        ["inputTokens", "outputTokens", "cachedReadTokens", "cachedWriteTokens"].map(|name| usage[name].as_u64().unwrap_or_default())
    });
    Ok(Ended { reason, tokens })
}

/// Reads the parameters of `session/request_permission`.
///
/// # Errors
/// When they are none.
pub fn permission(params: &RawValue) -> serde_json::Result<Ask> {
    let mut asked: Value = serde_json::from_str(params.get())?;
    let option = |option: &Value| {
        let option_id = text(&option["optionId"])?;
        let kind = match option["kind"].as_str() {
            Some("allow_once") => PermissionKind::AllowOnce,
            Some("allow_always") => PermissionKind::AllowAlways,
            Some("reject_always") => PermissionKind::DenyAlways,
            // What is not known is taken for a refusal: nothing is allowed by mistake.
            _ => PermissionKind::DenyOnce,
        };
        Some(PermissionOption { label: text(&option["name"]).unwrap_or_else(|| option_id.clone()), option_id, kind })
    };
    let options = list(&asked["options"]).iter().filter_map(option).collect();
    Ok(Ask { change: change(asked["toolCall"].take())?, options })
}
