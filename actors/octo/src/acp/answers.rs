//! What octo answers, and what happens in its sessions.

use super::machine::{From, Machine, Op, Pending};
use super::rpc::{NOT_FOUND, RpcError, quoted};
use super::session::{Session, Telling};
use octo_protocol::event::EventFrame;
use octo_protocol::mux::ServerFrame;
use octo_protocol::mux::agent::AgentFrame;
use octo_protocol::response::Response;
use octo_protocol::session::{Aborted, SessionList, SessionOpened, SlashCommand};
use octo_protocol::{Command, Cursor, ErrorCode, Model, ProtocolError, SessionSummary};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Sessions on one page of `session/list`.
const PAGE: usize = 100;

type Answer = Result<Value, ProtocolError>;

/// There is no such session, or it is somebody else's.
pub(super) fn not_found(session: &str) -> RpcError {
    RpcError::new(NOT_FOUND, format!("there is no session {:?}", quoted(session)))
}

fn read<T: DeserializeOwned>(answer: Answer) -> Result<T, ProtocolError> {
    serde_json::from_value(answer?)
        .map_err(|error| ProtocolError::new(ErrorCode::Internal, format!("octo's answer cannot be read: {error}")))
}

impl Machine {
    pub(super) fn frame(&mut self, text: &str) {
        // An event of a newer octo that this build does not know is passed over, as every client does.
        match serde_json::from_str(text) {
            Ok(ServerFrame::Agent(AgentFrame::Event(event))) => self.event(*event),
            Ok(ServerFrame::Agent(AgentFrame::Response(response))) => self.response(*response),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "a frame of octo is passed over"),
        }
    }

    fn event(&mut self, event: EventFrame) {
        let session = event.session_id.clone();
        // Of an attach that another one has replaced.
        if !self.attached.contains(&session) {
            return;
        }
        let Some(of) = self.sessions.get_mut(&session) else { return };
        let outs = of.event(event);
        self.carry_out(&session, outs);
        self.follow_up_taken_back(&session);
    }

    fn response(&mut self, response: Response) {
        let Some(Pending { op, .. }) = response.id.parse().ok().and_then(|id: u64| self.pending.remove(&id)) else { return };
        let answer = if response.success {
            Ok(response.data.unwrap_or(Value::Null))
        } else {
            let message = response.error.unwrap_or_else(|| "octo does not say why".to_owned());
            Err(ProtocolError::new(response.code.unwrap_or(ErrorCode::Internal), message))
        };
        match op {
            Op::Create { session } => self.created(&session, answer),
            Op::Find { session, from } => self.found(&session, from, answer),
            Op::Attach { session } => self.reattached(&session, answer),
            Op::Models { session } => self.has_models(&session, answer),
            Op::Commands { session } => self.has_commands(&session, answer),
            Op::List { rpc, cwd, after } => {
                let listed =
                    read::<SessionList>(answer).map_err(RpcError::from).and_then(|list| page(list, cwd.as_deref(), after.as_deref()));
                self.reply(&rpc, listed);
            }
            Op::Prompt { session, client_id } => self.prompted(&session, &client_id, answer),
            Op::Abort { session } => {
                // Refused, there is nothing to abort; what was to be is said by the session's own events.
                let parked = read::<Aborted>(answer).unwrap_or_default().parked;
                if let Some(of) = self.sessions.get_mut(&session) {
                    let ended = of.prompts.parked(&parked);
                    let outs = of.over(ended);
                    self.carry_out(&session, outs);
                }
            }
            Op::Answer { session, request } => {
                if let Err(refused) = answer {
                    // What is wrong with it, or with the question, is not right the next time.
                    let again = !matches!(refused.code, ErrorCode::InvalidRequest | ErrorCode::InvalidState | ErrorCode::SessionNotFound);
                    self.not_given(&session, request, again);
                }
            }
            Op::Set { rpc, session, command, mode } => self.has_set(&rpc, &session, &command, mode, answer),
            Op::Close { rpc, session } => match answer {
                Ok(_) => {
                    self.send(&session, Command::SessionDetach, Op::Nothing);
                    self.close(&session);
                    self.reply(&rpc, Ok(json!({})));
                }
                Err(refused) => self.reply(&rpc, Err(refused.into())),
            },
            Op::Delete { rpc, session } => match answer {
                Ok(_) => {
                    self.gone(&session, "the session was deleted");
                    self.reply(&rpc, Ok(json!({})));
                }
                Err(refused) => self.reply(&rpc, Err(refused.into())),
            },
            Op::Nothing => {}
        }
    }

    /// The client has no more to do with it; the agent is stopped.
    fn close(&mut self, session: &str) {
        self.withdraw(session, |_| true);
        if let Some(mut of) = self.sessions.remove(session) {
            let ended = of.prompts.give_up_all();
            let outs = of.over(ended);
            self.carry_out(session, outs);
        }
        self.attached.remove(session);
        self.tidy(session);
    }

    fn created(&mut self, session: &str, answer: Answer) {
        match read::<SessionOpened>(answer) {
            Ok(opened) => {
                self.sessions.insert(session.to_owned(), Session::new(Telling::Unseen));
                self.opened(session, &opened);
            }
            Err(refused) => self.not_opened(session, refused.into()),
        }
    }

    fn found(&mut self, session: &str, from: From, answer: Answer) {
        let summary = match read::<SessionList>(answer) {
            Ok(list) => list.sessions.into_iter().find(|summary| summary.session_id == session),
            Err(refused) => return self.not_opened(session, refused.into()),
        };
        let Some(SessionSummary { epoch, seq, .. }) = summary else { return self.not_opened(session, not_found(session)) };
        self.withdraw(session, |_| true);
        self.attached.remove(session);
        let of = match from {
            From::Start => {
                let mut of = Session::new(Telling::Unseen);
                of.cursor = Some(Cursor { epoch, seq: 0 });
                of
            }
            From::Now => Session::from_now(Cursor { epoch, seq }),
            From::Place(place) => Session::at(place),
        };
        self.sessions.insert(session.to_owned(), of);
        self.attach(session);
    }

    fn not_opened(&mut self, session: &str, error: RpcError) {
        if let Some(opening) = self.opening.remove(session) {
            self.reply(&opening.rpc, Err(error));
        }
    }

    fn reattached(&mut self, session: &str, answer: Answer) {
        match read::<SessionOpened>(answer) {
            Ok(opened) => self.opened(session, &opened),
            Err(refused) if refused.code == ErrorCode::SessionNotFound => self.gone(session, &refused.message),
            // Whoever waits for it hears why; what was open already is tried again in a moment.
            Err(refused) if self.opening.contains_key(session) => {
                self.sessions.remove(session);
                self.not_opened(session, refused.into());
            }
            Err(_) => {}
        }
    }

    fn has_models(&mut self, session: &str, answer: Answer) {
        if let (Ok(models), Some(of)) = (read::<Vec<Model>>(answer), self.sessions.get_mut(session)) {
            of.choices.models = models;
        }
        if let Some(opening) = self.opening.get_mut(session) {
            opening.models = true;
            self.open_when_ready(session);
        }
    }

    /// Answers `session/new`, `session/load` and `session/resume` once all is there.
    pub(super) fn open_when_ready(&mut self, session: &str) {
        if !self.opening.get(session).is_some_and(|opening| opening.models && opening.caught_up) {
            return;
        }
        let (Some(opening), Some(of)) = (self.opening.remove(session), self.sessions.get(session)) else { return };
        let mut octo = json!({ "harness": of.choices.harness, "cursor": of.place() });
        if !opening.mcp.is_empty() {
            octo["mcpServers"] = json!("not passed on");
        }
        let mut result = json!({ "configOptions": of.choices.options(), "_meta": { "octo": octo } });
        if let Some(modes) = of.choices.mode_state() {
            result["modes"] = modes;
        }
        // A client over HTTP that has it in an answer opens a stream for it.
        result["sessionId"] = session.into();
        self.reply(&opening.rpc, Ok(result));
        if !opening.mcp.is_empty() {
            let names = opening.mcp.join(", ");
            let why = format!("octo does not pass on MCP servers of an editor ({names}): agents have those that they are configured with");
            let told = self.sessions.get(session).map(|of| of.notice("mcp_servers", &why)).unwrap_or_default();
            self.carry_out(session, told);
        }
        if opening.new {
            self.want_commands(session);
        }
    }

    fn has_commands(&mut self, session: &str, answer: Answer) {
        let Ok(commands) = read::<Vec<SlashCommand>>(answer) else { return };
        if commands.is_empty() {
            return;
        }
        if let Some(of) = self.sessions.get_mut(session) {
            of.has_commands = true;
            let listed: Vec<Value> =
                commands.iter().map(|command| json!({ "name": command.name, "description": command.description })).collect();
            self.update(session, json!({ "sessionUpdate": "available_commands_update", "availableCommands": listed }), None);
        }
    }

    fn prompted(&mut self, session: &str, client_id: &str, answer: Answer) {
        let Some(of) = self.sessions.get_mut(session) else { return };
        match answer {
            Ok(_) => {
                let ended = of.prompts.answered(client_id, of.working);
                let cancelled = of.prompts.is_cancelled(client_id) && !of.prompts.is_taken_back(client_id);
                let outs = of.over(ended.into_iter().collect());
                self.carry_out(session, outs);
                if cancelled {
                    // Taken back before octo had it: the abort of then may have come too early.
                    self.abort(session);
                }
            }
            Err(refused) => {
                if let Some(rpc) = of.prompts.give_up(client_id) {
                    self.reply(&rpc, Err(refused.into()));
                }
            }
        }
    }

    fn has_set(&mut self, rpc: &Value, session: &str, command: &Command, mode: bool, answer: Answer) {
        let result = answer.map_err(RpcError::from).and_then(|_| {
            let of = self.session(session)?;
            of.choices.done(command);
            Ok(if mode { json!({}) } else { json!({ "configOptions": of.choices.options() }) })
        });
        self.reply(rpc, result);
    }
}

/// One page of sessions, newest first; the cursor names the last of the page before.
fn page(list: SessionList, cwd: Option<&str>, after: Option<&str>) -> Result<Value, RpcError> {
    let mut sessions = list.sessions;
    sessions.retain(|session| cwd.is_none_or(|cwd| session.cwd == cwd));
    sessions.sort_by(|a, b| (b.last_activity, &b.session_id).cmp(&(a.last_activity, &a.session_id)));
    if let Some(after) = after {
        let unknown =
            || RpcError::new(super::rpc::INVALID_PARAMS, "this cursor is none of session/list; leave it out to begin with the newest");
        let (at, id) = after.split_once(':').and_then(|(at, id)| Some((at.parse::<i64>().ok()?, id.to_owned()))).ok_or_else(unknown)?;
        sessions.retain(|session| (session.last_activity, &session.session_id) < (at, &id));
    }
    let more = sessions.len() > PAGE;
    sessions.truncate(PAGE);
    let next = sessions.last().filter(|_| more).map(|last| format!("{}:{}", last.last_activity, last.session_id));
    let shown: Vec<Value> = sessions.iter().map(listed).collect();
    let mut result = json!({ "sessions": shown });
    if let Some(next) = next {
        result["nextCursor"] = next.into();
    }
    Ok(result)
}

fn listed(session: &SessionSummary) -> Value {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(session.last_activity) * 1_000_000).ok();
    json!({
        "sessionId": session.session_id,
        "cwd": session.cwd,
        "title": session.title,
        "updatedAt": moment.and_then(|moment| moment.format(&Rfc3339).ok()),
        "_meta": { "octo": { "harness": session.harness, "state": session.state, "model": session.model } },
    })
}
