//! The one reader of a connection: frames in, in order; nothing here waits for a command.
//!
//! A client that sends too much is read more slowly: what it has sent waits in its own socket, and nobody else waits for it.

use super::channels::Channels;
use super::commands::{Commands, Context};
use super::outbox::{Closing, Outbox};
use super::pump::Stats;
use super::rate::Rate;
use super::socket::Socket;
use futures_util::StreamExt as _;
use futures_util::stream::SplitStream;
use octo_protocol::metrics::Limit;
use octo_protocol::mux::system::ServerSystem;
use octo_protocol::mux::{ClientFrame, FrameError, MAX_COMMAND_BYTES, ServerFrame};
use octo_protocol::{Command, ErrorCode, ProtocolError};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

/// Frames of more bytes are parsed apart from what serves everybody.
const LARGE_BYTES: usize = 64 * 1024;
/// How long commands that were taken may go on after the client has left, so that the last thing sent is still done.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// How long a socket stays open after a frame that was not read to its end, so that the close frame arrives before the reset.
const LINGER: Duration = Duration::from_secs(2);

/// How WebSocket says that a message is too large.
pub(crate) const TOO_LARGE: u16 = 1009;

/// When the peer was last heard.
#[derive(Clone)]
pub struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    pub fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// The reader of one connection.
pub struct Reader {
    stream: SplitStream<Socket>,
    outbox: Outbox,
    commands: Commands,
    channels: Channels,
    stats: Arc<Stats>,
    heard: Heard,
    /// Taken while a large frame of the user is parsed.
    parsing: Arc<Semaphore>,
}

impl Reader {
    pub fn new(stream: SplitStream<Socket>, context: Context, heard: Heard, parsing: Arc<Semaphore>) -> Self {
        let (outbox, stats, context) = (context.outbox.clone(), Arc::clone(&context.stats), Arc::new(context));
        Self { stream, outbox, commands: Commands::new(Arc::clone(&context)), channels: Channels::new(context), stats, heard, parsing }
    }

    /// Reads until the connection is over.
    pub async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut rate = Rate::new(Instant::now());
        let mut whole = true;
        loop {
            let message = tokio::select! {
                message = self.stream.next() => message,
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a command panicked");
                    }
                    continue;
                }
            };
            self.heard.touch();
            let Some(message) = message else { break };
            if let Some(wait) = rate.spend(message.as_ref().map_or(0, size), Instant::now()) {
                self.stats.throttled();
                tokio::time::sleep(wait).await;
            }
            match message {
                Ok(Message::Text(text)) => {
                    self.stats.received();
                    // On the heap while there is a command: an idle connection keeps no room for one.
                    Box::pin(self.text(text, &mut tasks)).await;
                }
                Ok(Message::Binary(_)) => {
                    let error = "Invalid command: frames are JSON text, this one is binary".to_owned();
                    self.outbox.frame(&ServerFrame::System(ServerSystem::Error { error, id: None })).await;
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Close(_)) => break,
                Err(error) => {
                    let closing = why(&error);
                    // Of a connection that broke there is nobody left to wait for.
                    whole = closing.is_none();
                    if let Some(closing) = closing {
                        if closing.code == TOO_LARGE {
                            self.stats.figures.limits.hit(Limit::FrameBytes);
                        }
                        self.outbox.close(closing);
                    }
                    break;
                }
            }
        }
        // The client is gone or about to be.
        self.stats.left.store(true, Relaxed);
        self.outbox.close(Closing::new(1000, "closed by the client"));
        self.channels.unwatch();
        let finish = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FINISH_WITHIN, finish).await;
        if !whole {
            tokio::time::sleep(LINGER).await;
        }
    }

    async fn text(&mut self, text: Utf8Bytes, tasks: &mut JoinSet<()>) {
        let bytes = text.len();
        match self.parse(text).await {
            Ok(ClientFrame::Agent(frame)) if bytes > MAX_COMMAND_BYTES && !matches!(frame.command, Command::Prompt { .. }) => {
                self.stats.figures.limits.hit(Limit::FrameBytes);
                let error = format!("the command has {bytes} bytes; only prompts may have more than {MAX_COMMAND_BYTES}");
                let cmd = frame.command.name().to_owned();
                self.commands.refuse(frame.session_id, frame.id, cmd, ProtocolError::new(ErrorCode::LimitExceeded, error)).await;
            }
            Ok(ClientFrame::Agent(frame)) => self.commands.dispatch(frame, bytes, tasks).await,
            Ok(_) if bytes > MAX_COMMAND_BYTES => {
                self.stats.figures.limits.hit(Limit::FrameBytes);
                let error = format!("Invalid command: {bytes} bytes; only prompts may have more than {MAX_COMMAND_BYTES}");
                self.outbox.frame(&ServerFrame::System(ServerSystem::Error { error, id: None })).await;
            }
            Ok(frame) => {
                if let Some(command) = self.channels.take(frame, tasks).await {
                    self.commands.dispatch(command, bytes, tasks).await;
                }
            }
            Err(error) => {
                let frame = ServerFrame::System(ServerSystem::Error { error: error.to_string(), id: error.id.clone() });
                self.outbox.frame(&frame).await;
                if let Some(failed) = error.command {
                    let refused = ProtocolError::new(ErrorCode::InvalidRequest, error.reason);
                    self.commands.refuse(failed.session_id, error.id, failed.cmd, refused).await;
                }
            }
        }
    }
}

impl Reader {
    /// Large frames are parsed where nobody waits for it, one of a user at a time.
    async fn parse(&self, text: Utf8Bytes) -> Result<ClientFrame, FrameError> {
        if text.len() <= LARGE_BYTES {
            return ClientFrame::parse(&text);
        }
        let turn = Arc::clone(&self.parsing).acquire_owned().await;
        let parsed = tokio::task::spawn_blocking(move || {
            let parsed = ClientFrame::parse(&text);
            drop((text, turn));
            parsed
        });
        parsed.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a frame could not be parsed");
            Err(FrameError { reason: "the server could not read it".to_owned(), id: None, command: None })
        })
    }
}

pub(crate) fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) | Message::Frame(_) => 0,
    }
}

/// How to close after a frame that breaks the rules of WebSocket; `None` when it is the connection that broke.
pub(crate) fn why(error: &tungstenite::Error) -> Option<Closing> {
    match error {
        tungstenite::Error::Capacity(_) => Some(Closing::new(TOO_LARGE, "the frame is too large")),
        tungstenite::Error::Utf8(_) => Some(Closing::new(1007, "the text is not UTF-8")),
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => None,
        tungstenite::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Some(Closing::new(1008, "the message comes in too many small pieces"))
        }
        tungstenite::Error::Protocol(_) => Some(Closing::new(1002, "the frame breaks the protocol")),
        _ => None,
    }
}
