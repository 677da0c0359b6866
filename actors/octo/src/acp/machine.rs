//! The translation, without I/O: messages of the client in, commands of octo out; frames of octo in, messages for the client out.
//!
//! Whoever drives it says when octo is in reach ([`Machine::connected`]) and when it is not. What was asked of octo and not answered is asked again then, and
//! each session goes on after the last event that was told: every command is one that may be repeated, prompts by their client id.

use super::prompts::Ended;
use super::questions::{self, Put};
use super::rpc::{self, INVALID_REQUEST, Incoming, NOT_FOUND, RpcError};
use super::session::{Out, Session};
use octo_protocol::session::SessionOpened;
use octo_protocol::{Command, CommandFrame, Cursor, InputRequest};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Requests of one client that may be unanswered; one more is refused.
pub const MAX_REQUESTS: usize = 32;
/// Sessions one connection may have open. With the requests they are no more commands than the mux takes at once.
pub const MAX_SESSIONS: usize = 32;
/// Questions that the client may have open at once; more are left to octo's other clients.
pub const MAX_QUESTIONS: usize = 64;

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Send this to the client.
    Client(Value),
    /// Send this to octo.
    Octo(Box<CommandFrame>),
}

/// What a command was sent for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Create {
        session: String,
    },
    Find {
        session: String,
        from: From,
    },
    Attach {
        session: String,
    },
    Models {
        session: String,
    },
    Commands {
        session: String,
    },
    List {
        rpc: Value,
        cwd: Option<String>,
        after: Option<String>,
    },
    Prompt {
        session: String,
        client_id: String,
    },
    Abort {
        session: String,
    },
    Answer {
        session: String,
        request: InputRequest,
    },
    /// `mode`: by `session/set_mode`, whose answer is empty.
    Set {
        rpc: Value,
        session: String,
        command: Command,
        mode: bool,
    },
    Close {
        rpc: Value,
        session: String,
    },
    Delete {
        rpc: Value,
        session: String,
    },
    Nothing,
}

/// Where a session that is opened begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum From {
    /// With its first message.
    Start,
    /// With what comes next.
    Now,
    /// After what the client has.
    Place(super::session::Place),
}

/// A session on its way to the client.
#[derive(Debug)]
pub(super) struct Opening {
    pub rpc: Value,
    /// The client does not know its id yet.
    pub new: bool,
    /// Its models are known.
    pub models: bool,
    /// What is to be told of it was told.
    pub caught_up: bool,
    /// Servers of the client's that octo does not pass on.
    pub mcp: Vec<String>,
}

pub(super) struct Pending {
    pub frame: CommandFrame,
    pub op: Op,
}

pub(super) struct Question {
    pub session: String,
    pub request: InputRequest,
}

/// What the client can do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Client {
    pub forms: bool,
}

/// One connection of a client.
pub struct Machine {
    /// The agent of new sessions that name none.
    pub(super) harness: Option<String>,
    pub(super) client: Option<Client>,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// Requests of the client that are not answered, by the JSON of their ids.
    requests: BTreeSet<String>,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) opening: BTreeMap<String, Opening>,
    /// Sessions whose events are those of the newest attach.
    pub(super) attached: BTreeSet<String>,
    questions: BTreeMap<String, Question>,
    /// Questions that this client cannot put, and was told of.
    elsewhere: BTreeSet<(String, String)>,
    /// Questions that this client has answered, until octo says that they are resolved.
    given: BTreeSet<(String, String)>,
    /// Why nothing is asked of octo any more.
    dead: Option<RpcError>,
    up: bool,
    next: u64,
    acts: Vec<Act>,
}

impl Machine {
    /// For a client that has said nothing yet. `harness`: the agent of new sessions that name none; octo's own choice when absent.
    #[must_use]
    pub fn new(harness: Option<String>) -> Self {
        Self {
            harness,
            client: None,
            pending: BTreeMap::new(),
            requests: BTreeSet::new(),
            sessions: BTreeMap::new(),
            opening: BTreeMap::new(),
            attached: BTreeSet::new(),
            questions: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
            given: BTreeSet::new(),
            dead: None,
            up: false,
            next: 0,
            acts: Vec::new(),
        }
    }

    /// A message of the client.
    pub fn client(&mut self, text: &str) -> Vec<Act> {
        match rpc::parse(text) {
            Err(answer) => self.tell(answer),
            Ok(Incoming::Request { id, method, params }) => self.request(id, &method, params),
            Ok(Incoming::Notification { method, params }) => self.notified(&method, &params),
            Ok(Incoming::Answer { id, result }) => self.answered(&id, result),
        }
        std::mem::take(&mut self.acts)
    }

    /// A frame of octo.
    pub fn octo(&mut self, text: &str) -> Vec<Act> {
        self.frame(text);
        std::mem::take(&mut self.acts)
    }

    /// octo is in reach, for the first time or again.
    pub fn connected(&mut self) -> Vec<Act> {
        self.up = true;
        self.attached.clear();
        // First where each session goes on, so that the answers to what follows fall into their places.
        self.pending.retain(|_, pending| !matches!(pending.op, Op::Attach { .. }));
        let sessions: Vec<String> = self.sessions.keys().cloned().collect();
        sessions.iter().for_each(|session| self.attach(session));
        let attaching = |pending: &Pending| matches!(pending.op, Op::Attach { .. });
        let again: Vec<CommandFrame> = self.pending.values().filter(|p| !attaching(p)).map(|p| p.frame.clone()).collect();
        self.acts.extend(again.into_iter().map(|frame| Act::Octo(Box::new(frame))));
        std::mem::take(&mut self.acts)
    }

    /// octo is out of reach; what is asked of it meanwhile waits.
    pub fn disconnected(&mut self) {
        self.up = false;
        self.attached.clear();
    }

    /// octo will not be in reach again: everything that waits is answered with `why`.
    pub fn refused(&mut self, why: &RpcError) -> Vec<Act> {
        self.up = false;
        let waiting: Vec<Value> = std::mem::take(&mut self.requests).iter().filter_map(|id| serde_json::from_str(id).ok()).collect();
        self.acts.extend(waiting.iter().map(|rpc| Act::Client(rpc::failure(rpc, why))));
        self.pending.clear();
        self.opening.clear();
        self.sessions.clear();
        self.dead = Some(why.clone());
        std::mem::take(&mut self.acts)
    }

    /// Whether [`Machine::again`] has something to do.
    #[must_use]
    pub fn wants_again(&self) -> bool {
        self.up && self.sessions.keys().any(|session| self.is_adrift(session))
    }

    /// Tries again what octo could not do a moment ago.
    pub fn again(&mut self) -> Vec<Act> {
        let adrift: Vec<String> = self.sessions.keys().filter(|session| self.is_adrift(session)).cloned().collect();
        if self.up {
            adrift.iter().for_each(|session| self.attach(session));
        }
        std::mem::take(&mut self.acts)
    }

    fn is_adrift(&self, session: &str) -> bool {
        let attaching = |pending: &Pending| matches!(&pending.op, Op::Attach { session: of } if of == session);
        !self.attached.contains(session) && !self.pending.values().any(attaching)
    }

    /// For the log: sessions and unanswered requests.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.sessions.len(), self.requests.len())
    }

    pub(super) fn attach(&mut self, session: &str) {
        let Some(of) = self.sessions.get(session) else { return };
        let cursor: Option<Cursor> = of.cursor.clone();
        self.send(session, Command::SessionAttach { cursor }, Op::Attach { session: session.to_owned() });
    }

    pub(super) fn send(&mut self, session: &str, command: Command, op: Op) {
        self.next += 1;
        let frame =
            CommandFrame { id: Some(self.next.to_string()), session_id: session.to_owned(), runner_id: None, traceparent: None, command };
        if self.up {
            self.acts.push(Act::Octo(Box::new(frame.clone())));
        }
        self.pending.insert(self.next, Pending { frame, op });
    }

    pub(super) fn tell(&mut self, message: Value) {
        self.acts.push(Act::Client(message));
    }

    /// Takes a request on; false when it was refused.
    pub(super) fn admit(&mut self, rpc: &Value) -> bool {
        if let Some(why) = &self.dead {
            let refusal = rpc::failure(rpc, why);
            self.tell(refusal);
            return false;
        }
        let why = if self.requests.len() >= MAX_REQUESTS {
            format!("{MAX_REQUESTS} requests of this connection are unanswered; wait for one of their answers")
        } else if self.requests.insert(rpc.to_string()) {
            return true;
        } else {
            "another request under this id is not answered yet".to_owned()
        };
        self.tell(rpc::failure(rpc, &RpcError::new(INVALID_REQUEST, why)));
        false
    }

    /// Answers a request, once.
    pub(super) fn reply(&mut self, rpc: &Value, result: Result<Value, RpcError>) {
        if self.requests.remove(&rpc.to_string()) {
            self.tell(match result {
                Ok(result) => rpc::success(rpc, &result),
                Err(error) => rpc::failure(rpc, &error),
            });
        }
    }

    pub(super) fn session(&mut self, session: &str) -> Result<&mut Session, RpcError> {
        let unknown = || {
            let message =
                format!("session {:?} is not open on this connection: open it with session/load or session/resume", rpc::quoted(session));
            RpcError::new(NOT_FOUND, message)
        };
        self.sessions.get_mut(session).ok_or_else(unknown)
    }

    /// Carries out what an event came to.
    pub(super) fn carry_out(&mut self, session: &str, outs: Vec<Out>) {
        let place = self.sessions.get(session).and_then(Session::place);
        let last = outs.iter().rposition(|out| matches!(out, Out::Update(_)));
        for (at, out) in outs.into_iter().enumerate() {
            match out {
                // Where the client stands once it has all of the event.
                Out::Update(update) => self.update(session, update, if last == Some(at) { place.as_ref() } else { None }),
                Out::Prompt(Ended { rpc, .. }, Ok(reason)) => {
                    let result = json!({ "stopReason": reason, "_meta": { "octo": { "cursor": place } } });
                    self.reply(&rpc, Ok(result));
                }
                Out::Prompt(Ended { rpc, .. }, Err(error)) => self.reply(&rpc, Err(error)),
                Out::Ask(request) => self.ask(session, request),
                Out::Resolved(request_id) => self.withdraw(session, |question| question.request_id() == request_id),
                Out::CaughtUp => self.caught_up(session),
                Out::Idle => self.want_commands(session),
                Out::Gone => self.gone(session, "the session was deleted"),
            }
        }
    }

    /// A `session/update`.
    pub(super) fn update(&mut self, session: &str, update: Value, place: Option<&super::session::Place>) {
        let mut params = json!({ "sessionId": session, "update": update });
        if let Some(place) = place {
            params["_meta"] = json!({ "octo": { "cursor": place } });
        }
        self.tell(rpc::notification("session/update", &params));
    }

    fn caught_up(&mut self, session: &str) {
        let open: BTreeSet<String> =
            self.sessions.get(session).map(|of| of.questions.iter().map(|q| q.request_id().to_owned()).collect()).unwrap_or_default();
        // Answered while nobody was told.
        self.withdraw(session, |question| !open.contains(question.request_id()));
        if let Some(opening) = self.opening.get_mut(session) {
            opening.caught_up = true;
            self.open_when_ready(session);
        }
    }

    /// Puts a question to the client, unless it has it.
    pub(super) fn ask(&mut self, session: &str, request: InputRequest) {
        let has = |question: &Question| question.session == session && question.request.request_id() == request.request_id();
        let given = self.given.contains(&(session.to_owned(), request.request_id().to_owned()));
        if given || self.questions.values().any(has) {
            return;
        }
        let forms = self.client.unwrap_or_default().forms;
        let put = if self.questions.len() < MAX_QUESTIONS {
            questions::put(session, &request, forms)
        } else {
            Put::Elsewhere("the agent asks more than this editor is asked at once; answer in octo".to_owned())
        };
        match put {
            Put::Request(method, params) => {
                self.next += 1;
                let id = format!("octo-{}", self.next);
                self.tell(rpc::request(&id, method, &params));
                self.questions.insert(id, Question { session: session.to_owned(), request });
            }
            Put::Elsewhere(sentence) => self.leave(session, request.request_id(), &sentence),
        }
    }

    /// Leaves a question to octo's other clients, and says so once.
    fn leave(&mut self, session: &str, request_id: &str, sentence: &str) {
        if self.elsewhere.len() < MAX_QUESTIONS && self.elsewhere.insert((session.to_owned(), request_id.to_owned())) {
            let told = self.sessions.get(session).map(|of| of.notice("question", sentence)).unwrap_or_default();
            self.carry_out(session, told);
        }
    }

    /// Takes questions back that somebody else has answered. An answer that comes all the same is no answer to anything.
    pub(super) fn withdraw(&mut self, session: &str, is: impl Fn(&InputRequest) -> bool) {
        let mut back = Vec::new();
        self.questions.retain(|id, question| {
            let over = question.session == session && is(&question.request);
            if over {
                back.push(id.clone());
            }
            !over
        });
        for id in back {
            self.tell(rpc::notification("$/cancel_request", &json!({ "requestId": id })));
        }
        self.tidy(session);
    }

    /// Forgets what was remembered of questions that are not open any more.
    pub(super) fn tidy(&mut self, session: &str) {
        let open = self.sessions.get(session).map(|of| of.questions.iter().map(|q| q.request_id().to_owned()).collect::<BTreeSet<_>>());
        let open = open.unwrap_or_default();
        for remembered in [&mut self.elsewhere, &mut self.given] {
            remembered.retain(|(of, request_id)| of != session || open.contains(request_id));
        }
    }

    /// octo did not take the answer to a question: while it is open, it is asked again.
    pub(super) fn not_given(&mut self, session: &str, request: InputRequest, again: bool) {
        self.given.remove(&(session.to_owned(), request.request_id().to_owned()));
        let is_open = |of: &Session| of.questions.iter().any(|open| open.request_id() == request.request_id());
        if again && self.sessions.get(session).is_some_and(is_open) {
            self.ask(session, request);
        }
    }

    /// The client answers a request of ours.
    fn answered(&mut self, id: &Value, result: Result<Value, Value>) {
        let Some(Question { session, request }) = id.as_str().and_then(|id| self.questions.remove(id)) else { return };
        let answer = result.ok().and_then(|result| questions::answer(&request, &result));
        let request_id = request.request_id().to_owned();
        match answer {
            Some(answer) => {
                self.given.insert((session.clone(), request_id.clone()));
                self.send(&session, Command::InputResponse { request_id, answer }, Op::Answer { session: session.clone(), request });
            }
            None => self.leave(&session, &request_id, "the agent asks something that this editor could not show; answer it in octo"),
        }
    }

    /// There is no such session any more.
    pub(super) fn gone(&mut self, session: &str, why: &str) {
        self.withdraw(session, |_| true);
        let error = RpcError::new(NOT_FOUND, why);
        if let Some(mut of) = self.sessions.remove(session) {
            for ended in of.prompts.give_up_all() {
                self.reply(&ended.rpc, Err(error.clone()));
            }
        }
        if let Some(opening) = self.opening.remove(session) {
            self.reply(&opening.rpc, Err(error));
        }
        self.attached.remove(session);
        self.tidy(session);
    }

    /// A session was opened, or opened again.
    pub(super) fn opened(&mut self, session: &str, opened: &SessionOpened) {
        self.attached.insert(session.to_owned());
        if let Some(of) = self.sessions.get_mut(session) {
            of.opened(opened);
        }
        if self.opening.contains_key(session) {
            self.send(session, Command::GetModels { workdir: None }, Op::Models { session: session.to_owned() });
        }
    }
}
