//! The one reader of a connection: frames in, in order; nothing here waits for a command.

use super::channels::Channels;
use super::commands::{Commands, Context};
use super::outbox::{Closing, Outbox};
use super::pump::Stats;
use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt as _;
use futures_util::stream::SplitStream;
use octo_protocol::mux::system::ServerSystem;
use octo_protocol::mux::{ClientFrame, MAX_COMMAND_BYTES, ServerFrame};
use octo_protocol::{Command, ErrorCode, ProtocolError};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

/// Frames a client may send at once.
pub const BURST_FRAMES: f64 = 2000.0;
/// Frames a second it may send for long.
pub const FRAMES_PER_SECOND: f64 = 500.0;
/// How long commands that were taken may go on after the client has left, so that the last thing sent is still done.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// How long a socket stays open after a frame that was not read to its end, so that the close frame arrives before the reset.
const LINGER: Duration = Duration::from_secs(2);

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

    fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

struct Rate {
    left: f64,
    at: Instant,
}

impl Rate {
    fn spend(&mut self) -> bool {
        let now = Instant::now();
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * FRAMES_PER_SECOND).min(BURST_FRAMES);
        self.at = now;
        self.left -= 1.0;
        self.left >= 0.0
    }
}

/// The reader of one connection.
pub struct Reader {
    stream: SplitStream<WebSocket>,
    outbox: Outbox,
    commands: Commands,
    channels: Channels,
    stats: Arc<Stats>,
    heard: Heard,
}

impl Reader {
    pub fn new(stream: SplitStream<WebSocket>, context: Context, heard: Heard) -> Self {
        let (outbox, stats, context) = (context.outbox.clone(), Arc::clone(&context.stats), Arc::new(context));
        Self { stream, outbox, commands: Commands::new(Arc::clone(&context)), channels: Channels::new(context), stats, heard }
    }

    /// Reads until the connection is over.
    pub async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut rate = Rate { left: BURST_FRAMES, at: Instant::now() };
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
            if !rate.spend() {
                let error = "limit_exceeded: too many frames at once; wait a moment and connect again".to_owned();
                self.outbox.frame(&ServerFrame::System(ServerSystem::Error { error, id: None })).await;
                self.outbox.close(Closing::new(1008, "too many frames"));
                whole = false;
                break;
            }
            match message {
                Ok(Message::Text(text)) => {
                    self.stats.received_frames.fetch_add(1, Relaxed);
                    // On the heap while there is a command: an idle connection keeps no room for one.
                    Box::pin(self.text(text.as_str(), &mut tasks)).await;
                }
                Ok(Message::Binary(_)) => {
                    let error = "Invalid command: frames are JSON text, this one is binary".to_owned();
                    self.outbox.frame(&ServerFrame::System(ServerSystem::Error { error, id: None })).await;
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_)) => break,
                Err(error) => {
                    whole = false;
                    self.outbox.close(why(error));
                    break;
                }
            }
        }
        // The client is gone or about to be.
        self.outbox.close(Closing::new(1000, "closed by the client"));
        self.channels.unwatch();
        let finish = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FINISH_WITHIN, finish).await;
        if !whole {
            tokio::time::sleep(LINGER).await;
        }
    }

    async fn text(&mut self, text: &str, tasks: &mut JoinSet<()>) {
        match ClientFrame::parse(text) {
            Ok(ClientFrame::Agent(frame)) if text.len() > MAX_COMMAND_BYTES && !matches!(frame.command, Command::Prompt { .. }) => {
                let error = format!("the command has {} bytes; only prompts may have more than {MAX_COMMAND_BYTES}", text.len());
                let cmd = frame.command.name().to_owned();
                self.commands.refuse(frame.session_id, frame.id, cmd, ProtocolError::new(ErrorCode::LimitExceeded, error)).await;
            }
            Ok(ClientFrame::Agent(frame)) => self.commands.dispatch(frame, tasks).await,
            Ok(_) if text.len() > MAX_COMMAND_BYTES => {
                let error = format!("Invalid command: {} bytes; only prompts may have more than {MAX_COMMAND_BYTES}", text.len());
                self.outbox.frame(&ServerFrame::System(ServerSystem::Error { error, id: None })).await;
            }
            Ok(frame) => {
                if let Some(command) = self.channels.take(frame, tasks).await {
                    self.commands.dispatch(command, tasks).await;
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

/// How to close after a frame that breaks the rules of WebSocket.
fn why(error: axum::Error) -> Closing {
    match error.into_inner().downcast::<tungstenite::Error>().map(|error| *error) {
        Ok(tungstenite::Error::Capacity(_)) => Closing::new(1009, "the frame is too large"),
        Ok(tungstenite::Error::Utf8(_)) => Closing::new(1007, "the text is not UTF-8"),
        Ok(tungstenite::Error::Protocol(_)) => Closing::new(1002, "the frame breaks the protocol"),
        _ => Closing::new(1006, "the connection broke"),
    }
}
