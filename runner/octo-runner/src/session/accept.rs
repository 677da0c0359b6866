//! Inputs: from the person into the journal, from the journal to the agent.

use super::actor::Session;
use super::names;
use super::{Answer, SessionMsg, nothing, refuse};
use crate::clock::now_ms;
use crate::journal::{Change, InputRow};
use crate::kill_point::{self, Point};
use crate::trace::InputTrace;
use octo_actors::{Ctx, Failure};
use octo_harness::{ENTRY_ID, Input};
use octo_protocol::event::{Event, InputKind, Phase, QueuedInput};
use octo_protocol::message::{ImageInput, Sender, SenderKind};
use octo_protocol::metrics::Limit;
use octo_protocol::part::{KnownPart, MediaSource};
use octo_protocol::{ClientId, ErrorCode, Message, Part, ProtocolError, Role, TraceContext};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Inputs that may wait for one agent.
const MAX_QUEUED_INPUTS: usize = 64;
/// Largest text of one input in bytes.
const MAX_INPUT_BYTES: usize = 4 * 1024 * 1024;
/// Largest text and images (base64) of one input together in bytes: they are one event, and nobody passes on one over 8 MiB.
const MAX_CONTENT_BYTES: usize = 7 * 1024 * 1024;

/// An input between its acceptance and its place in the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its key in the journal: the client's id, or one of ours that no client can have.
    pub key: String,
    pub kind: InputKind,
    pub content: Content,
}

/// What the person sent, as the journal keeps it until it is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageInput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    #[serde(default)]
    pub actor: String,
    /// Its trace. No part of what makes two inputs the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<InputTrace>,
}

impl Content {
    /// What the journal has of an input; `None` when that is not what the person sent.
    pub fn kept(input: &InputRow) -> Option<Self> {
        let content: Self = serde_json::from_str(input.content.as_deref()?).ok()?;
        content.is_that_of(input).then_some(content)
    }

    /// Whether it is what the journal has of an input, as far as the person sent it.
    pub fn is_that_of(&self, input: &InputRow) -> bool {
        // The kind it was sent as is not kept: what it became may be another one.
        let kinds = [InputKind::Prompt, InputKind::Steer, InputKind::FollowUp];
        kinds.into_iter().any(|kind| self.hash(kind) == input.hash)
    }

    /// What makes two inputs of one client id the same.
    pub fn hash(&self, kind: InputKind) -> String {
        hash(kind, self)
    }
}

impl Waiting {
    pub fn queued(&self) -> QueuedInput {
        QueuedInput { kind: self.kind, message: self.content.message.clone(), client_id: self.content.client_id.clone() }
    }
}

/// What makes two inputs of one client id the same.
fn hash(kind: InputKind, content: &Content) -> String {
    let mut digest = Sha256::new();
    digest.update([match kind {
        InputKind::Prompt => 0u8,
        InputKind::Steer => 1,
        InputKind::FollowUp => 2,
    }]);
    digest.update((content.message.len() as u64).to_le_bytes());
    digest.update(content.message.as_bytes());
    for image in &content.images {
        digest.update((image.media_type.len() as u64).to_le_bytes());
        digest.update(image.media_type.as_bytes());
        digest.update((image.data.len() as u64).to_le_bytes());
        digest.update(image.data.as_bytes());
    }
    hex::encode(digest.finalize())
}

impl Session {
    /// Takes an input of a person, which comes with the context `traced`. The answer comes when it is in the journal.
    pub async fn accept(
        &mut self,
        asked: InputKind,
        mut content: Content,
        traced: Option<TraceContext>,
        answer: Answer,
    ) -> Result<(), Failure> {
        let trace = traced.map(InputTrace::new);
        content.trace = trace;
        match self.try_accept(asked, content).await? {
            Ok(fresh) => {
                if let Some((trace, parent)) = trace.zip(traced).filter(|_| fresh) {
                    trace.accepted(parent, &self.row.id, &self.shared.spans);
                }
                kill_point::reached(Point::Accepted);
                let _ = answer.send(nothing());
                kill_point::reached(Point::Answered);
            }
            Err(error) => refuse(answer, error),
        }
        Ok(())
    }

    /// Why nobody takes a message of this size, or none.
    pub fn content_is_too_large(&self, content: &Content) -> Result<(), ProtocolError> {
        if content.message.len() > MAX_INPUT_BYTES {
            self.shared.figures.limits.hit(Limit::InputBytes);
            let message =
                format!("a message of {} bytes is over the limit of {MAX_INPUT_BYTES}; put it into a file", content.message.len());
            return Err(ProtocolError::new(ErrorCode::LimitExceeded, message));
        }
        let whole = content.images.iter().map(|i| i.data.len() + i.media_type.len()).sum::<usize>() + content.message.len();
        if whole > MAX_CONTENT_BYTES {
            self.shared.figures.limits.hit(Limit::InputBytes);
            let message =
                format!("the images of this message have {whole} bytes, over the limit of {MAX_CONTENT_BYTES}; send fewer or smaller ones");
            return Err(ProtocolError::new(ErrorCode::LimitExceeded, message));
        }
        if content.message.trim().is_empty() && content.images.is_empty() {
            return Err(ProtocolError::new(ErrorCode::InvalidRequest, "the message is empty"));
        }
        Ok(())
    }

    /// True when it was not known already.
    async fn try_accept(&mut self, asked: InputKind, content: Content) -> Result<Result<bool, ProtocolError>, Failure> {
        if let Err(error) = self.content_is_too_large(&content) {
            return Ok(Err(error));
        }
        let hash = hash(asked, &content);
        if let Some(client_id) = &content.client_id {
            match self.shared.journal.input(self.row.key.session, client_id.as_str()).await {
                Ok(Some(known)) if known.hash == hash => return Ok(Ok(false)),
                Ok(Some(_)) => {
                    let message = format!("client_id {client_id} was used for another message; use a new one");
                    return Ok(Err(ProtocolError::new(ErrorCode::Conflict, message)));
                }
                Ok(None) => {}
                Err(error) => return Ok(Err(error.into())),
            }
        }
        if self.queue.len() + self.handed.len() >= MAX_QUEUED_INPUTS {
            self.shared.figures.limits.hit(Limit::Inputs);
            let message = format!("{MAX_QUEUED_INPUTS} messages wait for the agent already; wait for it or abort");
            return Ok(Err(ProtocolError::new(ErrorCode::LimitExceeded, message)));
        }
        let kind = match asked {
            // Nothing runs yet that could be steered or followed.
            _ if self.ledger.turn.is_none() || !self.agent.is_ready() => InputKind::Prompt,
            InputKind::Steer if self.is_running() => InputKind::Steer,
            _ => InputKind::FollowUp,
        };
        // What waits is of no turn that this input begins: were that refused, nothing would end the turn.
        if !self.ledger.flush().await? {
            return Ok(Err(self.ledger.why_stalled().into()));
        }
        let begins = self.ledger.turn.is_none();
        if begins {
            self.begin_turn(content.trace);
        }
        let (event, waiting, change) = content.accepted(asked, kind)?;
        let content = &waiting.content;
        kill_point::reached(Point::Checked);
        if let Err(error) = self.ledger.write_traced_now(vec![event], content.trace.map(|trace| trace.context), vec![change]).await? {
            if begins {
                self.ledger.turn = None;
                self.trace_forget();
            }
            return Ok(Err(error.into()));
        }
        if self.row.title.is_none()
            && let Some(title) = names::title_of(&content.message)
        {
            self.set_title(&title, false)?;
        }
        self.failed = false;
        self.closed = false;
        self.queue.push_back(waiting);
        Ok(Ok(true))
    }

    /// Gives the agent what it can take now, and starts it when something waits.
    pub async fn hand_over(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if self.queue.is_empty() {
            return Ok(());
        }
        if self.agent.is_asleep() && !self.failed && !self.closed {
            self.begin_turn(self.queue.front().and_then(|first| first.content.trace));
            self.ledger.push(Event::AgentWorking { phase: Phase::Initializing, detail: None })?;
            self.start_agent(ctx);
            return Ok(());
        }
        if !self.agent.is_ready() {
            return Ok(());
        }
        while let Some(at) = self.queue.iter().position(|w| w.kind == InputKind::Steer && self.is_running()) {
            if !self.hand(at, InputKind::Steer, ctx).await? {
                return Ok(());
            }
        }
        if !self.queue.is_empty() && !self.is_running() {
            self.hand(0, InputKind::Prompt, ctx).await?;
        }
        Ok(())
    }

    /// A run is under way, or an input that begins one is with the agent.
    pub fn is_running(&self) -> bool {
        self.harness.is_working() || self.handed.values().any(|w| w.kind != InputKind::Steer)
    }

    /// False when the journal does not take it for now: then the agent does not get it either.
    async fn hand(&mut self, at: usize, kind: InputKind, ctx: &Ctx<SessionMsg>) -> Result<bool, Failure> {
        let Some(waiting) = self.queue.get(at).cloned() else { return Ok(false) };
        self.begin_turn(waiting.content.trace);
        let mut events = Vec::new();
        if kind != InputKind::Steer {
            let mut message = message_of(&waiting.content);
            message.metadata = self.harness.next_entry(&waiting.content.message).map(|entry| serde_json::json!({ENTRY_ID: entry}));
            events.push(Event::MessageEnd { message });
        }
        let change = Change::InputHanded { key: waiting.key.clone() };
        kill_point::reached(Point::Ready);
        if let Err(error) = self.ledger.write_now(events, vec![change]).await? {
            if !error.is_temporary() {
                return Err(error.into());
            }
            self.retry_later(ctx)?;
            return Ok(false);
        }
        kill_point::reached(Point::Handed);
        self.queue.remove(at);
        let trace = waiting.content.trace;
        if kind != InputKind::Steer {
            self.trace_ahead().await;
        }
        let token = self.token();
        let input = Input { token, kind, message: waiting.content.message.clone(), images: waiting.content.images.clone() };
        self.handed.insert(token, Waiting { kind, ..waiting });
        self.harness.input(input, now_ms(), &mut self.outbox);
        self.trace_handed(trace);
        Box::pin(self.outputs(ctx)).await?;
        kill_point::reached(Point::Given);
        Ok(true)
    }

    /// A turn is under way from now on, if there was none; `input` begins it.
    pub fn begin_turn(&mut self, input: Option<InputTrace>) {
        if self.ledger.turn.is_none() {
            self.ledger.turn = Some(new_turn());
            self.trace_begin(input);
        }
    }

    /// What waits for the agent, as `queue.changed` shows it.
    pub fn queues(&self) -> (Vec<QueuedInput>, Vec<QueuedInput>) {
        let mut at_agent: Vec<_> = self.handed.iter().filter(|(_, w)| w.kind == InputKind::Steer).collect();
        at_agent.sort_by_key(|(token, _)| **token);
        let steering = at_agent.into_iter().map(|(_, w)| w).chain(self.queue.iter().filter(|w| w.kind == InputKind::Steer));
        let follow_up = self.queue.iter().filter(|w| w.kind == InputKind::FollowUp);
        (steering.map(Waiting::queued).collect(), follow_up.map(Waiting::queued).collect())
    }

    pub fn announce_queue(&mut self) -> Result<(), Failure> {
        let queues = self.queues();
        if queues != self.announced {
            self.announced = queues.clone();
            self.ledger.push(Event::QueueChanged { steering: queues.0, follow_up: queues.1 })?;
        }
        Ok(())
    }

    /// Gives everything that waits back to the person.
    pub fn park_queue(&mut self) -> Vec<QueuedInput> {
        let parked: Vec<Waiting> = self.queue.drain(..).collect();
        for waiting in &parked {
            self.trace_parked(waiting.content.trace);
            self.ledger.change(Change::InputParked { key: waiting.key.clone() });
        }
        parked.iter().map(Waiting::queued).collect()
    }
}

fn new_turn() -> String {
    format!("turn_{}", uuid::Uuid::now_v7().simple())
}

/// The user's message, as it stands in history.
pub fn message_of(content: &Content) -> Message {
    let mut parts = Vec::with_capacity(1 + content.images.len());
    if !content.message.is_empty() {
        parts.push(Part::text("p0", content.message.clone()));
    }
    for (n, image) in content.images.iter().enumerate() {
        let source = MediaSource::Base64 { data: image.data.clone(), mime_type: image.media_type.clone() };
        parts.push(KnownPart::Image { id: format!("p{}", n + 1), source, alt: None }.into());
    }
    let sender = (!content.actor.is_empty()).then(|| Sender {
        kind: SenderKind::User,
        id: content.actor.clone(),
        name: content.actor.clone(),
        runner_id: None,
        session_id: None,
    });
    Message {
        id: format!("msg_{}", uuid::Uuid::now_v7().simple()),
        idx: 0,
        role: Role::User,
        client_id: content.client_id.clone(),
        sender,
        parts,
        created_at: now_ms(),
        model: None,
        provider: None,
        stop_reason: None,
        usage: None,
        tool_call_id: None,
        tool_name: None,
        is_error: None,
        metadata: None,
    }
}
