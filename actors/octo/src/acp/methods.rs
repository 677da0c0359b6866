//! What a client asks for: methods of ACP v1, as commands of octo.

use super::content::{Block, Said};
use super::machine::{Client, From, MAX_SESSIONS, Machine, Op, Opening};
use super::prompts::{MAX_PROMPTS, Waiting};
use super::rpc::{INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, RpcError, params, quoted};
use super::session::{Place, Session};
use octo_protocol::{ClientId, Command, PermissionMode, SessionConfig, SessionId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// The version of ACP that octo speaks.
pub const PROTOCOL_VERSION: u64 = 1;
/// MCP servers of a client that are named when it is told that octo does not pass them on.
const NAMED_SERVERS: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialize {
    #[serde(default)]
    protocol_version: Value,
    #[serde(default)]
    client_capabilities: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewSession {
    cwd: String,
    #[serde(default)]
    mcp_servers: Vec<McpServer>,
    #[serde(default)]
    additional_directories: Vec<IgnoredAny>,
    #[serde(default, rename = "_meta")]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct McpServer {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenSession {
    session_id: String,
    #[serde(default)]
    mcp_servers: Vec<McpServer>,
    #[serde(default)]
    additional_directories: Vec<IgnoredAny>,
    #[serde(default, rename = "_meta")]
    meta: Option<Meta>,
}

/// `_meta`, of which octo reads its own member.
#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    octo: Option<Own>,
}

/// `_meta.octo` of a request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Own {
    harness: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    sandbox: Option<String>,
    permissions: Option<PermissionMode>,
    cursor: Option<Place>,
    client_id: Option<ClientId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfSession {
    session_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prompt {
    session_id: String,
    prompt: Vec<Block>,
    #[serde(default, rename = "_meta")]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetOption {
    session_id: String,
    config_id: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetMode {
    session_id: String,
    mode_id: String,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    cursor: Option<String>,
}

fn own(meta: Option<Meta>) -> Own {
    meta.and_then(|meta| meta.octo).unwrap_or_default()
}

impl Machine {
    /// A request.
    pub(super) fn request(&mut self, rpc: Value, method: &str, given: Value) {
        if !self.admit(&rpc) {
            return;
        }
        if self.client.is_none() && method != "initialize" {
            let why = "initialize comes first: this connection was not initialized";
            return self.reply(&rpc, Err(RpcError::new(INVALID_REQUEST, why)));
        }
        // Each either answers, or leaves the request to an answer of octo.
        let done = match method {
            "initialize" => self.initialize(&rpc, given),
            // Whoever is here has shown who they are, before the first message.
            "authenticate" => {
                self.reply(&rpc, Ok(json!({})));
                Ok(())
            }
            "session/new" => self.new_session(&rpc, given),
            "session/load" => self.open_session(&rpc, method, given, From::Start),
            "session/resume" => self.open_session(&rpc, method, given, From::Now),
            "session/list" => self.list(&rpc, given),
            "session/close" => self.end_session(&rpc, method, given),
            "session/delete" => self.delete_session(&rpc, given),
            "session/prompt" => self.prompt(&rpc, given),
            "session/set_config_option" => self.set_option(&rpc, given),
            "session/set_mode" => self.set_mode(&rpc, given),
            _ => Err(RpcError::new(METHOD_NOT_FOUND, format!("octo has no method {:?}", quoted(method)))),
        };
        if let Err(error) = done {
            self.reply(&rpc, Err(error));
        }
    }

    /// A notification; what is not known is passed over.
    pub(super) fn notified(&mut self, method: &str, given: &Value) {
        match method {
            "session/cancel" => {
                let Some(session) = given["sessionId"].as_str().map(str::to_owned) else { return };
                let Some(of) = self.sessions.get_mut(&session) else { return };
                of.prompts.cancel();
                self.abort(&session);
            }
            "$/cancel_request" => self.take_back(&given["requestId"]),
            _ => {}
        }
    }

    fn initialize(&mut self, rpc: &Value, given: Value) -> Result<(), RpcError> {
        if self.client.is_some() {
            return Err(RpcError::new(INVALID_REQUEST, "this connection is initialized already"));
        }
        let Initialize { protocol_version, client_capabilities } = params("initialize", given)?;
        let refused = |spoken: &str| {
            let message = format!("octo speaks version {PROTOCOL_VERSION} of the Agent Client Protocol, and not {spoken}");
            RpcError { code: INVALID_PARAMS, message, data: Some(json!({ "supported": [PROTOCOL_VERSION] })) }
        };
        // Whoever speaks a later one is told what octo speaks, and decides; of the protocol before the first version, and of others, there is nothing to speak.
        let asked = match &protocol_version {
            Value::Number(version) => version.as_u64().filter(|version| *version >= PROTOCOL_VERSION),
            _ => None,
        };
        let Some(asked) = asked else {
            let shown = if protocol_version.is_null() { "one that is not named".to_owned() } else { quoted(&protocol_version.to_string()) };
            return Err(refused(&shown));
        };
        self.client = Some(Client { forms: client_capabilities["elicitation"]["form"].is_object() });
        let mut result = json!({
            "protocolVersion": PROTOCOL_VERSION,
            "agentInfo": { "name": "octo", "title": "octo", "version": crate::VERSION },
            "agentCapabilities": {
                "loadSession": true,
                "promptCapabilities": { "image": true, "audio": false, "embeddedContext": true },
                "mcpCapabilities": { "http": false, "sse": false },
                "sessionCapabilities": { "list": {}, "resume": {}, "close": {}, "delete": {} },
                "_meta": { "octo": { "cursor": true } },
            },
            "authMethods": [],
        });
        if asked != PROTOCOL_VERSION {
            result["_meta"] = json!({ "octo": { "notice": refused(&format!("version {asked}")).message } });
        }
        self.reply(rpc, Ok(result));
        Ok(())
    }

    fn room(&self) -> Result<(), RpcError> {
        let coming = self.opening.keys().filter(|session| !self.sessions.contains_key(*session)).count();
        if self.sessions.len() + coming >= MAX_SESSIONS {
            let why = format!("this connection has {MAX_SESSIONS} sessions open; close one with session/close, or open another connection");
            return Err(RpcError::new(INVALID_REQUEST, why));
        }
        Ok(())
    }

    fn new_session(&mut self, rpc: &Value, given: Value) -> Result<(), RpcError> {
        let NewSession { cwd, mcp_servers, additional_directories, meta } = params("session/new", given)?;
        one_folder(&additional_directories)?;
        self.room()?;
        let own = own(meta);
        let session = format!("ses_{}", &uuid::Uuid::now_v7().simple().to_string()[..20]);
        let config = SessionConfig {
            harness: own.harness.or_else(|| self.harness.clone()),
            cwd: Some(cwd),
            provider: own.provider,
            model: own.model,
            sandbox: own.sandbox,
            permissions: own.permissions,
            ..SessionConfig::default()
        };
        self.opening.insert(session.clone(), opening(rpc, true, mcp_servers));
        self.send(&session, Command::SessionCreate { config, cursor: None }, Op::Create { session: session.clone() });
        Ok(())
    }

    fn open_session(&mut self, rpc: &Value, method: &str, given: Value, from: From) -> Result<(), RpcError> {
        let OpenSession { session_id, mcp_servers, additional_directories, meta } = params(method, given)?;
        one_folder(&additional_directories)?;
        let name = SessionId::new(session_id.as_str()).map_err(|_| super::answers::not_found(&session_id))?;
        let session = name.as_str().to_owned();
        let busy = |why: &str| Err(RpcError::new(INVALID_REQUEST, format!("session {session} {why}")));
        if self.opening.contains_key(&session) {
            return busy("is being opened on this connection already");
        }
        if self.sessions.get(&session).is_some_and(|of| !of.prompts.is_empty()) {
            return busy("has a prompt of this connection under way: wait for its answer, or cancel it");
        }
        if !self.sessions.contains_key(&session) {
            self.room()?;
        }
        let from = own(meta).cursor.map_or(from, From::Place);
        self.opening.insert(session.clone(), opening(rpc, false, mcp_servers));
        self.send("", Command::ListSessions, Op::Find { session, from });
        Ok(())
    }

    fn list(&mut self, rpc: &Value, given: Value) -> Result<(), RpcError> {
        let List { cwd, cursor } = params("session/list", given)?;
        self.send("", Command::ListSessions, Op::List { rpc: rpc.clone(), cwd, after: cursor });
        Ok(())
    }

    fn end_session(&mut self, rpc: &Value, method: &str, given: Value) -> Result<(), RpcError> {
        let OfSession { session_id } = params(method, given)?;
        self.session(&session_id)?.prompts.cancel();
        self.send(&session_id, Command::SessionClose, Op::Close { rpc: rpc.clone(), session: session_id.clone() });
        Ok(())
    }

    fn delete_session(&mut self, rpc: &Value, given: Value) -> Result<(), RpcError> {
        let OfSession { session_id } = params("session/delete", given)?;
        let session = SessionId::new(session_id.as_str()).map_err(|_| super::answers::not_found(&session_id))?;
        let op = Op::Delete { rpc: rpc.clone(), session: session_id };
        self.send(session.as_str(), Command::SessionDelete, op);
        Ok(())
    }

    fn prompt(&mut self, rpc: &Value, given: Value) -> Result<(), RpcError> {
        let Prompt { session_id, prompt, meta } = params("session/prompt", given)?;
        let Said { message, images } = Said::of(prompt)?;
        let of = self.session(&session_id)?;
        let client_id = match own(meta).client_id {
            Some(id) => id,
            None => ClientId::new(format!("acp-{}", uuid::Uuid::now_v7().simple()))
                .map_err(|error| RpcError::new(INVALID_PARAMS, error.to_string()))?,
        };
        if of.prompts.has(client_id.as_str()) {
            return Err(RpcError::new(INVALID_REQUEST, "a prompt with this client_id is not answered yet"));
        }
        if of.prompts.len() >= MAX_PROMPTS {
            return Err(RpcError::new(
                INVALID_REQUEST,
                format!("{MAX_PROMPTS} prompts of this session are unanswered; wait for one of them"),
            ));
        }
        of.prompts.add(rpc.clone(), client_id.as_str().to_owned());
        let op = Op::Prompt { session: session_id.clone(), client_id: client_id.as_str().to_owned() };
        // While a turn runs octo has it wait, and gives it a turn of its own.
        let images = (!images.is_empty()).then_some(images);
        self.send(&session_id, Command::Prompt { message, images, client_id: Some(client_id) }, op);
        Ok(())
    }

    fn set_option(&mut self, rpc: &Value, given: Value) -> Result<(), RpcError> {
        let SetOption { session_id, config_id, value } = params("session/set_config_option", given)?;
        let Some(value) = value.as_str() else {
            return Err(RpcError::new(INVALID_PARAMS, "the options of octo's sessions are choices: their value is a text"));
        };
        self.set(rpc, &session_id, &config_id, value, false)
    }

    fn set_mode(&mut self, rpc: &Value, given: Value) -> Result<(), RpcError> {
        let SetMode { session_id, mode_id } = params("session/set_mode", given)?;
        self.set(rpc, &session_id, "permissions", &mode_id, true)
    }

    fn set(&mut self, rpc: &Value, session: &str, id: &str, value: &str, mode: bool) -> Result<(), RpcError> {
        let choices = &self.session(session)?.choices;
        match choices.set(id, value)? {
            Some(command) => {
                let op = Op::Set { rpc: rpc.clone(), session: session.to_owned(), command: command.clone(), mode };
                self.send(session, command, op);
            }
            None => {
                let options = choices.options();
                self.reply(rpc, Ok(if mode { json!({}) } else { json!({ "configOptions": options }) }));
            }
        }
        Ok(())
    }

    /// Ends the turn of a session, unless that was asked for already.
    pub(super) fn abort(&mut self, session: &str) {
        let asked = self.pending.values().any(|pending| matches!(&pending.op, Op::Abort { session: of } if of == session));
        if !asked {
            self.send(session, Command::Abort, Op::Abort { session: session.to_owned() });
        }
    }

    /// The client takes a request back. Only prompts take so long that this changes something; the others are answered as they come out.
    fn take_back(&mut self, rpc: &Value) {
        let found = self.sessions.iter_mut().find_map(|(session, of)| of.prompts.cancel_one(rpc).then(|| session.clone()));
        if let Some(session) = found {
            self.follow_up_taken_back(&session);
        }
    }

    /// Drops or aborts prompts that were taken back, where it is known by now which of the two it takes.
    pub(super) fn follow_up_taken_back(&mut self, session: &str) {
        let found = self.sessions.get_mut(session).map(|of| of.prompts.taken_back()).unwrap_or_default();
        for waiting in found {
            match waiting {
                Waiting::InTurn => self.abort(session),
                Waiting::InQueue(client_id) => {
                    if let Ok(client_id) = ClientId::new(client_id) {
                        self.send(session, Command::QueueDrop { client_id }, Op::Nothing);
                    }
                }
            }
        }
    }

    /// Asks for the agent's own commands, once.
    pub(super) fn want_commands(&mut self, session: &str) {
        let wants = |of: &Session| !of.has_commands && of.choices.capabilities.iter().any(|c| c == "get_commands");
        if self.sessions.get(session).is_some_and(wants) {
            let asked = self.pending.values().any(|pending| matches!(&pending.op, Op::Commands { session: of } if of == session));
            if !asked {
                self.send(session, Command::GetCommands, Op::Commands { session: session.to_owned() });
            }
        }
    }
}

fn opening(rpc: &Value, new: bool, mcp: Vec<McpServer>) -> Opening {
    let mcp = mcp.into_iter().map(|server| quoted(&server.name)).take(NAMED_SERVERS).collect();
    Opening { rpc: rpc.clone(), new, models: false, caught_up: false, mcp }
}

fn one_folder(more: &[IgnoredAny]) -> Result<(), RpcError> {
    if more.is_empty() {
        return Ok(());
    }
    Err(RpcError::new(INVALID_PARAMS, "a session of octo has one folder, its cwd; leave additionalDirectories out"))
}
