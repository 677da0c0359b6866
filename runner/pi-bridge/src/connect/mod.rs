//! `pi-bridge connect`: the other end. octo-runner starts it in the place of an agent; it carries a bridge's WebSocket to its own standard input and output.
//!
//! Owns: the connection and its cursor. It makes another one by itself when one is lost, with back-off, and goes on where it was.
//!
//! Promises: each event of the bridge is written once and in order, however many connections that takes; a jump of `seq` outside of brackets is a loss, and
//! the connection is made anew; a command for a connection that is gone is dropped, for whoever wrote it is told of the loss and knows what to do.
//!
//! Never: understands what an event means, or keeps more of them than the one under way: when nobody reads here, nothing is read there.

mod cursor;
mod socket;

pub use cursor::Where;
pub use socket::{Address, Attempt};

use clap::Args;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin, Stdout};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

/// How long a bridge may be out of reach before the first connection: longer, and there is none.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may be out of reach afterwards until people are told.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// The wait before another attempt, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often a silent bridge is asked for a sign of life.
const PING: Duration = Duration::from_secs(20);
/// A bridge that says nothing for so long is gone, or the way to it is.
const DEAD_AFTER: Duration = Duration::from_secs(60);
/// A bridge that takes nothing for so long is as gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// The arguments. The token is in the environment.
#[derive(Debug, Clone, Args)]
pub struct Connect {
    /// Where the bridge answers: http://HOST:PORT.
    #[arg(long)]
    pub url: String,
    /// The session at the bridge; a new one when absent.
    #[arg(long)]
    pub session: Option<String>,
    /// `EPOCH:SEQ`: everything up to there is known here.
    #[arg(long, requires = "session")]
    pub after: Option<String>,
}

/// Why the connector ends.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0}")]
    Arguments(String),
    #[error("the bridge at {url} was out of reach for {FIRST_PATIENCE:?} ({why}): is it running, and is harness.NAME.url its address?")]
    OutOfReach { url: String, why: String },
    #[error("the bridge at {url} refuses: {why}")]
    Refused { url: String, why: String },
    #[error("what octo says cannot be read: {0}")]
    Input(io::Error),
    #[error("octo does not listen any more: {0}")]
    Output(io::Error),
}

/// A line of octo's translator.
#[derive(Deserialize)]
struct Command<'a> {
    connection: u64,
    #[serde(borrow)]
    send: &'a RawValue,
}

/// How a connection ended.
enum Over {
    /// Octo wants no more.
    Done,
    Lost(String),
}

struct Connector {
    address: Address,
    place: Where,
    input: Lines<BufReader<Stdin>>,
    output: Stdout,
    /// Counts connections.
    connection: u64,
}

/// Runs until the end of its input.
///
/// # Errors
/// [`ConnectError`], a sentence.
pub async fn run(connect: Connect, token: &str) -> Result<(), ConnectError> {
    let address = Address::parse(&connect.url, token).map_err(ConnectError::Arguments)?;
    let session = connect.session.unwrap_or_else(|| format!("oct_{}", uuid::Uuid::now_v7().simple()));
    let after = connect.after.as_deref().map(crate::http::cursor_of).transpose();
    let place = Where::new(session, after.map_err(|error| ConnectError::Arguments(error.to_string()))?);
    let input = BufReader::new(tokio::io::stdin()).lines();
    Connector { address, place, input, output: tokio::io::stdout(), connection: 0 }.run().await
}

impl Connector {
    async fn run(mut self) -> Result<(), ConnectError> {
        let (mut since, mut backoff, mut told) = (Instant::now(), BACKOFF.0, false);
        loop {
            match self.address.connect(self.place.session(), self.place.cursor()).await {
                Ok(attempt) => {
                    let (session, begun) = (self.place.session().to_owned(), Instant::now());
                    if attempt.session != session {
                        let why = "what answers there is no pi-bridge, or another version of it".to_owned();
                        return Err(ConnectError::Refused { url: self.address.url.clone(), why });
                    }
                    match self.converse(attempt).await? {
                        Over::Done => return Ok(()),
                        Over::Lost(why) => self.say(&json!({ "type": "lost", "connection": self.connection, "why": why })).await?,
                    }
                    // One that does not last is no reason to hurry.
                    if begun.elapsed() >= BACKOFF.1 {
                        backoff = BACKOFF.0;
                    }
                    (since, told) = (Instant::now(), false);
                }
                Err(socket::Failure::Final(why)) => return Err(ConnectError::Refused { url: self.address.url.clone(), why }),
                Err(socket::Failure::Passing(why)) => {
                    if self.connection == 0 && since.elapsed() >= FIRST_PATIENCE {
                        return Err(ConnectError::OutOfReach { url: self.address.url.clone(), why });
                    }
                    if self.connection > 0 && !told && since.elapsed() >= TELL_AFTER {
                        told = true;
                        self.say(&json!({ "type": "out_of_reach", "why": why })).await?;
                    }
                }
            }
            if !self.waits(backoff).await? {
                return Ok(());
            }
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Waits while nothing is connected; what octo says meanwhile is for a connection that is gone. False: octo wants no more.
    async fn waits(&mut self, wait: Duration) -> Result<bool, ConnectError> {
        let end = Instant::now() + wait;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok(true),
                line = self.input.next_line() => if line.map_err(ConnectError::Input)?.is_none() { return Ok(false) },
            }
        }
    }

    async fn converse(&mut self, attempt: Attempt) -> Result<Over, ConnectError> {
        self.connection += 1;
        let connection = self.connection;
        let Attempt { socket, session, harness, protocol } = attempt;
        let hello = json!({ "type": "connected", "connection": connection, "session": session, "harness": harness, "protocol": protocol });
        self.say(&hello).await?;
        self.place.connected();
        let (mut sink, mut stream) = socket.split();
        let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
        let mut heard = Instant::now();
        loop {
            let message = tokio::select! {
                message = stream.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            match self.place.takes(text.as_str()) {
                                Ok(frame) => self.pass(connection, &frame).await?,
                                Err(why) => return Ok(Over::Lost(why)),
                            }
                            // Octo may have taken its time.
                            heard = Instant::now();
                            continue;
                        }
                        Some(Ok(Message::Close(frame))) => {
                            let why = frame.map_or_else(|| "the bridge closed it".to_owned(), |frame| frame.reason.to_string());
                            return Ok(Over::Lost(why));
                        }
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => return Ok(Over::Lost(error.to_string())),
                        None => return Ok(Over::Lost("the connection broke off".to_owned())),
                    }
                }
                line = self.input.next_line() => match line.map_err(ConnectError::Input)? {
                    None => {
                        let _ = tokio::time::timeout(Duration::from_secs(1), sink.close()).await;
                        return Ok(Over::Done);
                    }
                    Some(line) => match serde_json::from_str::<Command<'_>>(&line) {
                        Ok(command) if command.connection == connection => Message::text(command.send.get().to_owned()),
                        _ => continue,
                    },
                },
                _ = ping.tick() => {
                    if heard.elapsed() >= DEAD_AFTER {
                        return Ok(Over::Lost(format!("the bridge said nothing for {DEAD_AFTER:?}")));
                    }
                    Message::Ping(bytes::Bytes::new())
                }
            };
            match tokio::time::timeout(WRITE_PATIENCE, sink.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Ok(Over::Lost(error.to_string())),
                Err(_) => return Ok(Over::Lost(format!("the bridge took nothing for {WRITE_PATIENCE:?}"))),
            }
        }
    }

    /// Writes a frame as it came.
    async fn pass(&mut self, connection: u64, frame: &str) -> Result<(), ConnectError> {
        let line = format!("{{\"type\":\"frame\",\"connection\":{connection},\"frame\":{frame}}}\n");
        self.write(line.as_bytes()).await
    }

    async fn say(&mut self, line: &serde_json::Value) -> Result<(), ConnectError> {
        self.write(format!("{line}\n").as_bytes()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        self.output.write_all(bytes).await.map_err(ConnectError::Output)?;
        self.output.flush().await.map_err(ConnectError::Output)
    }
}
