//! A runner for tests: speaks the link over a Unix socket, with a journal in memory that is pruned as the real one is.

use bytes::BytesMut;
use octo_protocol::event::EventKind;
use octo_protocol::history::Removed;
use octo_protocol::link::{
    Decoder, EndReason, Ended, Event as LinkEvent, Frame, Request, RequestBody, Response, ResponseBody, Sessions, Subscribe, Subscribed,
    Welcome, encode,
};
use octo_protocol::session::{SessionOpened, Snapshot};
use octo_protocol::{
    Command, CommandFrame, Epoch, ErrorCode, Event, EventPayload, Message, ProtocolError, Role, SessionId, SessionState, SessionSummary,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

pub struct FakeRunner {
    pub socket: PathBuf,
    core: Arc<Core>,
    accept: Option<tokio::task::JoinHandle<()>>,
}

struct Core {
    user: String,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    links: Mutex<Vec<AbortHandle>>,
    pub gate: Notify,
    streams: AtomicI64,
}

/// Counts a subscription while it is served.
struct Served(Arc<Core>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, SeqCst);
    }
}

#[derive(Default)]
struct State {
    sessions: HashMap<SessionId, Session>,
    /// Commands, and the question for its `actors`, that are not answered before [`FakeRunner::release`].
    held: Vec<String>,
    seen: Vec<CommandFrame>,
    actors: Vec<String>,
    /// Live subscriptions give nothing for now.
    stalled: bool,
    /// What a command is answered instead of the usual.
    told: HashMap<String, Value>,
    /// So many commands are answered `busy`.
    busy: usize,
}

struct Session {
    epoch: Epoch,
    rows: BTreeMap<u64, Row>,
    head: u64,
    ephemeral: Vec<(EventKind, Vec<u8>)>,
    messages: u64,
    /// Events up to here are not kept any more, except messages.
    floor: u64,
    removed: Option<Removed>,
}

#[derive(Clone)]
struct Row {
    kind: EventKind,
    payload: Vec<u8>,
    message: Option<String>,
    end: Option<Message>,
}

impl FakeRunner {
    pub fn start(socket: &Path, user: &str) -> Self {
        let core = Arc::new(Core {
            user: user.to_owned(),
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            links: Mutex::default(),
            gate: Notify::new(),
            streams: AtomicI64::new(0),
        });
        let mut runner = Self { socket: socket.to_owned(), core, accept: None };
        runner.listen();
        runner
    }

    /// Listens (again).
    pub fn listen(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        std::fs::create_dir_all(self.socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(&self.socket).unwrap();
        let core = Arc::clone(&self.core);
        self.accept = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let task = tokio::spawn(serve(Arc::clone(&core), stream));
                core.links.lock().unwrap().push(task.abort_handle());
            }
        }));
    }

    /// Cuts every link; the next one may come at once.
    pub fn cut(&self) {
        for link in self.core.links.lock().unwrap().drain(..) {
            link.abort();
        }
    }

    /// Cuts every link and takes no other.
    pub fn hide(&mut self) {
        if let Some(accept) = self.accept.take() {
            accept.abort();
        }
        let _ = std::fs::remove_file(&self.socket);
        self.cut();
    }

    pub fn open(&self, session: &str) {
        self.core.state().open(session);
    }

    /// Journals `event`; returns its `seq`, 0 for one that is not journalled.
    pub fn put(&self, session: &str, event: Event) -> u64 {
        let kind = event.kind();
        let message = event.message_id().map(str::to_owned);
        let end = if let Event::MessageEnd { message } = &event { Some(message.clone()) } else { None };
        let payload = serde_json::to_vec(&EventPayload::new(event)).unwrap();
        self.put_row(session, Row { kind, payload, message, end })
    }

    /// Journals bytes as they are.
    pub fn put_raw(&self, session: &str, kind: EventKind, payload: &[u8]) -> u64 {
        self.put_row(session, Row { kind, payload: payload.to_vec(), message: None, end: None })
    }

    fn put_row(&self, session: &str, row: Row) -> u64 {
        let seq = self.core.state().put(session, row);
        self.core.changed.send_modify(|n| *n += 1);
        seq
    }

    /// Begins a message of `deltas` pieces; ended by [`FakeRunner::finish`].
    pub fn begin(&self, session: &str, id: &str, deltas: usize) {
        self.put(session, Event::MessageStart { message_id: id.to_owned(), role: Role::Assistant });
        for n in 0..deltas {
            self.delta(session, id, &format!("{n} "));
        }
    }

    pub fn delta(&self, session: &str, id: &str, text: &str) {
        self.put(session, Event::TextDelta { message_id: id.to_owned(), delta: text.to_owned(), content_index: 0 });
    }

    /// Ends a message with its text; its deltas are pruned.
    pub fn finish(&self, session: &str, id: &str, text: &str) -> u64 {
        let idx = {
            let mut state = self.core.state();
            let session = state.session(session);
            session.messages += 1;
            session.messages - 1
        };
        let message: Message = serde_json::from_value(json!({
            "id": id, "idx": idx, "role": "assistant", "created_at": 1, "parts": [{"type": "text", "id": format!("{id}-0"), "text": text}],
        }))
        .unwrap();
        let seq = self.put(session, Event::MessageEnd { message });
        self.core.state().prune(session, id, seq);
        seq
    }

    /// What history holds.
    pub fn messages(&self, session: &str) -> Vec<Message> {
        self.core.state().session(session).rows.values().filter_map(|row| row.end.clone()).collect()
    }

    pub fn head(&self, session: &str) -> u64 {
        self.core.state().session(session).head
    }

    /// Starts the session's journal anew.
    pub fn renew(&self, session: &str, epoch: &str) {
        {
            let mut state = self.core.state();
            let session = state.session(session);
            *session = Session { epoch: Epoch::new(epoch).unwrap(), ..Session::new() };
        }
        self.core.changed.send_modify(|n| *n += 1);
    }

    /// Keeps events up to `floor` no longer, except messages, and of those only what `removed` leaves.
    pub fn cut_down(&self, session: &str, floor: u64, removed: Option<Removed>) {
        let mut state = self.core.state();
        let session = state.session(session);
        let mut gone = removed.as_ref().map_or(0, |r| r.messages) - session.removed.as_ref().map_or(0, |r| r.messages);
        session.rows.retain(|seq, row| {
            let is_message = row.end.is_some();
            let goes = *seq <= floor && (!is_message || gone > 0);
            gone -= u64::from(goes && is_message);
            !goes
        });
        session.floor = floor;
        session.removed = removed;
    }

    pub fn delete(&self, session: &str) {
        self.core.state().sessions.remove(session);
        self.core.changed.send_modify(|n| *n += 1);
    }

    /// Live subscriptions give nothing from here on, or go on; answers and replays come all the same.
    pub fn stall(&self, stalled: bool) {
        self.core.state().stalled = stalled;
        self.core.changed.send_modify(|n| *n += 1);
    }

    /// Answers `cmd` only when released.
    pub fn hold(&self, cmd: &str) {
        self.core.state().held.push(cmd.to_owned());
    }

    pub fn release(&self) {
        self.core.state().held.clear();
        self.core.gate.notify_waiters();
    }

    /// Answers `cmd` with `data`.
    pub fn tell(&self, cmd: &str, data: Value) {
        self.core.state().told.insert(cmd.to_owned(), data);
    }

    /// Has too much to do for the next `times` commands.
    pub fn be_busy(&self, times: usize) {
        self.core.state().busy = times;
    }

    /// Subscriptions that are being served.
    pub fn subscriptions(&self) -> i64 {
        self.core.streams.load(SeqCst)
    }

    pub fn seen(&self) -> Vec<CommandFrame> {
        self.core.state().seen.clone()
    }

    pub fn show_actor(&self, path: &str) {
        self.core.state().actors.push(path.to_owned());
    }
}

impl Drop for FakeRunner {
    fn drop(&mut self) {
        self.hide();
    }
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Session {
    fn new() -> Self {
        Self {
            epoch: Epoch::new("e1").unwrap(),
            rows: BTreeMap::new(),
            head: 0,
            ephemeral: Vec::new(),
            messages: 0,
            floor: 0,
            removed: None,
        }
    }
}

impl State {
    fn session(&mut self, session: &str) -> &mut Session {
        self.sessions.get_mut(session).unwrap()
    }

    fn open(&mut self, session: &str) {
        self.sessions.entry(SessionId::new(session).unwrap()).or_insert_with(Session::new);
    }

    fn put(&mut self, session: &str, row: Row) -> u64 {
        let session = self.session(session);
        if row.kind == EventKind::Ephemeral {
            session.ephemeral.push((row.kind, row.payload));
            return 0;
        }
        session.head += 1;
        session.rows.insert(session.head, row);
        session.head
    }

    /// Everything of a finished message but its end.
    fn prune(&mut self, session: &str, id: &str, end: u64) {
        self.session(session).rows.retain(|seq, row| *seq == end || row.message.as_deref() != Some(id));
    }

    fn opened(&self, session: &SessionId, resumed: bool) -> Result<Value, ProtocolError> {
        let found = self.sessions.get(session).ok_or_else(|| ProtocolError::session_not_found(session))?;
        let opened = SessionOpened {
            session_id: session.to_string(),
            epoch: found.epoch.clone(),
            seq: found.head,
            harness: "pi".to_owned(),
            capabilities: vec!["prompt".to_owned()],
            state: SessionState { session_id: session.to_string(), ..SessionState::default() },
            resumed,
        };
        Ok(serde_json::to_value(opened).unwrap())
    }

    fn snapshot(&self, id: &SessionId) -> Result<Value, ProtocolError> {
        let session = self.sessions.get(id).ok_or_else(|| ProtocolError::session_not_found(id))?;
        let ended = |id: &str| session.rows.values().any(|row| row.end.as_ref().is_some_and(|end| end.id == id));
        let open = session.rows.iter().find(|(_, row)| row.message.as_deref().is_some_and(|id| !ended(id)));
        let as_of = open.map_or(session.head, |(seq, _)| seq - 1);
        let messages = session.rows.range(..=as_of).filter_map(|(_, row)| row.end.clone()).collect();
        let state = SessionState { session_id: id.to_string(), ..SessionState::default() };
        let removed = session.removed.clone();
        let snapshot = Snapshot { epoch: session.epoch.clone(), messages, as_of, has_more: false, state, removed };
        Ok(serde_json::to_value(snapshot).unwrap())
    }

    fn list(&self) -> Vec<SessionSummary> {
        let row = |(id, session): (&SessionId, &Session)| {
            serde_json::from_value(json!({
                "session_id": id, "state": "idle", "cwd": "/", "last_activity": 1, "harness": "pi", "epoch": session.epoch, "seq": session.head,
            }))
            .unwrap()
        };
        self.sessions.iter().map(row).collect()
    }
}

/// One link. Aborting it drops the socket and everything on it.
async fn serve(core: Arc<Core>, mut stream: UnixStream) {
    let (mut buffer, mut decoder, mut out) = (BytesMut::new(), Decoder::default(), BytesMut::new());
    let hello = loop {
        match decoder.decode(&mut buffer).unwrap() {
            Some(frame) => break frame,
            None => {
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        }
    };
    assert!(matches!(hello, Frame::Hello(ref hello) if hello.user == core.user));
    let welcome = Frame::Welcome(Welcome {
        version: 1,
        software: "fake".to_owned(),
        runner_id: "local".to_owned(),
        user: core.user.clone(),
        pid: std::process::id(),
        boot_id: "boot".to_owned(),
        started_at: 1,
    });
    encode(&welcome, &mut 0, &mut out).unwrap();
    let sessions = Frame::Sessions(Sessions { json: serde_json::to_vec(&core.state().list()).unwrap() });
    encode(&sessions, &mut 0, &mut out).unwrap();
    stream.write_all(&out).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let (send, mut queue) = mpsc::channel::<Frame>(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut out, mut number) = (BytesMut::new(), 0);
        while let Some(frame) = queue.recv().await {
            encode(&frame, &mut number, &mut out).unwrap();
            if to.write_all_buf(&mut out).await.is_err() {
                return;
            }
        }
    });
    let mut subs: HashMap<u32, (Arc<AtomicI64>, Arc<Notify>, AbortHandle)> = HashMap::new();
    loop {
        while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
            match frame {
                Frame::Request(request) => {
                    let (core, send) = (Arc::clone(&core), send.clone());
                    // The commands of a session are seen in the order sent.
                    let answer = answer(&core, &request);
                    tasks.spawn(async move {
                        if let Some(cmd) = cmd(&request) {
                            loop {
                                let gate = core.gate.notified();
                                if !core.state().held.contains(&cmd) {
                                    break;
                                }
                                gate.await;
                            }
                        }
                        let body = match answer {
                            Ok(value) => ResponseBody::Ok { json: serde_json::to_vec(&value).unwrap() },
                            Err(ProtocolError { code, message }) => ResponseBody::Err { code, message },
                        };
                        let _ = send.send(Frame::Response(Response { id: request.id, body })).await;
                    });
                }
                Frame::Subscribe(subscribe) => {
                    let (credit, more) = (Arc::new(AtomicI64::new(i64::from(subscribe.credit))), Arc::new(Notify::new()));
                    let sub = subscribe.sub;
                    let task =
                        tasks.spawn(stream_events(Arc::clone(&core), send.clone(), subscribe, Arc::clone(&credit), Arc::clone(&more)));
                    subs.insert(sub, (credit, more, task));
                }
                Frame::Credit(grant) => {
                    if let Some((credit, more, _)) = subs.get(&grant.sub) {
                        credit.fetch_add(i64::from(grant.bytes), SeqCst);
                        more.notify_one();
                    }
                }
                Frame::Unsubscribe(gone) => {
                    if let Some((_, _, task)) = subs.remove(&gone.sub) {
                        task.abort();
                    }
                }
                Frame::Ping(ping) => {
                    let _ = send.send(Frame::Pong(ping)).await;
                }
                Frame::Pong(_) => {}
                other => panic!("the server sent {other:?}"),
            }
        }
        if from.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn cmd(request: &Request) -> Option<String> {
    match &request.body {
        RequestBody::Command { json } | RequestBody::Open { json, .. } | RequestBody::OpenBeside { json, .. } => {
            let frame: CommandFrame = serde_json::from_slice(json).unwrap();
            Some(frame.command.name().to_owned())
        }
        RequestBody::Actors => Some("actors".to_owned()),
        _ => None,
    }
}

fn answer(core: &Core, request: &Request) -> Result<Value, ProtocolError> {
    let mut state = core.state();
    match &request.body {
        RequestBody::Snapshot { session } => state.snapshot(session),
        RequestBody::History { json } => Ok(json!({ "asked": serde_json::from_slice::<Value>(json).unwrap() })),
        // It speaks version 1 of the link.
        RequestBody::Admin { .. } => panic!("asked what it could not have read"),
        RequestBody::Actors => {
            let row = |path: &String| json!({"path": path, "kind": "agent", "state": "running", "restarts": 0, "mailbox": 0, "processed": 1, "started_at": 1});
            Ok(state.actors.iter().map(row).collect())
        }
        RequestBody::Command { json } | RequestBody::Open { json, .. } | RequestBody::OpenBeside { json, .. } => {
            let frame: CommandFrame = serde_json::from_slice(json).unwrap();
            state.seen.push(frame.clone());
            if state.busy > 0 {
                state.busy -= 1;
                return Err(ProtocolError::new(ErrorCode::Busy, "much to do"));
            }
            if let Some(told) = state.told.get(frame.command.name()) {
                return Ok(told.clone());
            }
            let session = SessionId::new(frame.session_id.as_str()).ok();
            if matches!(frame.command, Command::ListSessions) {
                return Ok(json!({ "sessions": state.list() }));
            }
            if matches!(frame.command, Command::GetModels { .. }) {
                return Ok(json!([]));
            }
            let session = session.ok_or_else(|| ProtocolError::session_not_found(&frame.session_id))?;
            let resumed = state.sessions.contains_key(&session);
            if matches!(frame.command, Command::SessionCreate { .. }) {
                state.open(session.as_str());
            }
            let opened = state.opened(&session, resumed)?;
            match frame.command {
                Command::SessionCreate { .. } | Command::SessionAttach { .. } => Ok(opened),
                Command::SessionDelete => {
                    state.sessions.remove(&session);
                    core.changed.send_modify(|n| *n += 1);
                    Ok(Value::Null)
                }
                _ => Ok(Value::Null),
            }
        }
    }
}

async fn stream_events(core: Arc<Core>, send: mpsc::Sender<Frame>, subscribe: Subscribe, credit: Arc<AtomicI64>, more: Arc<Notify>) {
    core.streams.fetch_add(1, SeqCst);
    let _served = Served(Arc::clone(&core));
    let Subscribe { sub, session, epoch, after, until, .. } = subscribe;
    let end = async |reason| {
        let _ = send.send(Frame::Ended(Ended { sub, reason })).await;
    };
    let mut changed = core.changed.subscribe();
    let begun = {
        let state = core.state();
        state.sessions.get(&session).map(|s| (s.epoch.clone(), s.head, s.ephemeral.len(), s.floor))
    };
    let Some((now, head, mut told, floor)) = begun else { return end(EndReason::NoSession).await };
    if epoch.as_ref().is_some_and(|epoch| *epoch != now) {
        return end(EndReason::EpochChanged).await;
    }
    let mut at = after.unwrap_or(head);
    if at > head {
        return end(EndReason::AheadOfJournal).await;
    }
    at = at.max(floor);
    let _ = send.send(Frame::Subscribed(Subscribed { sub, epoch: now.clone(), head, after: at })).await;
    loop {
        let next = {
            let mut state = core.state();
            let stalled = state.stalled;
            match state.sessions.get_mut(&session) {
                None => Err(EndReason::NoSession),
                Some(_) if stalled && until.is_none() => Ok(None),
                Some(session) if session.epoch != now => Err(EndReason::EpochChanged),
                Some(session) => match session.rows.range(at + 1..).next().filter(|(seq, _)| until.is_none_or(|until| **seq <= until)) {
                    Some((seq, row)) => Ok(Some((*seq, row.kind, row.payload.clone()))),
                    None if until.is_some() => Err(EndReason::Complete),
                    None if told < session.ephemeral.len() => {
                        told += 1;
                        let (kind, payload) = session.ephemeral[told - 1].clone();
                        Ok(Some((0, kind, payload)))
                    }
                    None => {
                        at = at.max(session.head);
                        Ok(None)
                    }
                },
            }
        };
        match next {
            Err(reason) => return end(reason).await,
            Ok(None) => {
                let _ = changed.changed().await;
            }
            Ok(Some((seq, kind, payload))) => {
                while credit.load(SeqCst) <= 0 {
                    more.notified().await;
                }
                credit.fetch_sub(i64::try_from(payload.len()).unwrap(), SeqCst);
                at = at.max(seq);
                if send.send(Frame::Event(LinkEvent { sub, seq, ts: 1, kind, payload })).await.is_err() {
                    return;
                }
            }
        }
    }
}
