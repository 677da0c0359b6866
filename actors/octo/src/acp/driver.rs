//! Between a client, octo and the machine: one loop that never holds more than what one message came to.

use super::machine::{Act, Machine};
use super::rpc::RpcError;
use futures_util::{Stream, StreamExt as _};
use octo_protocol::CommandFrame;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Commands that wait for octo before the client is read no further.
const COMMANDS: usize = 64;
/// How often what octo could not do is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What comes from octo.
#[derive(Debug)]
pub enum Back {
    /// It is in reach.
    Up,
    /// It is out of reach, for now.
    Down,
    /// It will not be in reach again.
    Refused(RpcError),
    /// A frame of the mux.
    Frame(Utf8Bytes),
}

/// The four ends that a machine sits between.
pub struct Ends<S> {
    /// What the client says, message by message.
    pub heard: mpsc::Receiver<Utf8Bytes>,
    /// What is said to it.
    pub said: mpsc::Sender<Value>,
    /// What octo says.
    pub back: S,
    /// What is asked of it.
    pub asked: mpsc::Sender<CommandFrame>,
}

/// Drives a machine until its client has left, or either side takes nothing any more.
///
/// A client that does not read is not read from, and octo's frames wait where they are. The client is read once octo has been in reach, or will not be.
pub async fn drive<S: Stream<Item = Back> + Unpin>(machine: &mut Machine, mut ends: Ends<S>) {
    let mut out: VecDeque<Value> = VecDeque::new();
    let mut commands: VecDeque<CommandFrame> = VecDeque::new();
    let (mut settled, mut gone) = (false, false);
    let mut again = tokio::time::interval(AGAIN);
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if gone && commands.is_empty() {
            return;
        }
        let acts = tokio::select! {
            biased;
            room = ends.said.reserve(), if !out.is_empty() => {
                let Ok(room) = room else { return };
                if let Some(message) = out.pop_front() {
                    room.send(message);
                }
                continue;
            }
            room = ends.asked.reserve(), if !commands.is_empty() => {
                let Ok(room) = room else { return };
                if let Some(command) = commands.pop_front() {
                    room.send(command);
                }
                continue;
            }
            back = ends.back.next(), if out.is_empty() && !gone => match back {
                None => return,
                Some(Back::Frame(text)) => machine.octo(&text),
                Some(Back::Up) => {
                    settled = true;
                    commands.clear();
                    machine.connected()
                }
                Some(Back::Down) => {
                    commands.clear();
                    machine.disconnected();
                    continue;
                }
                Some(Back::Refused(why)) => {
                    settled = true;
                    machine.refused(&why)
                }
            },
            text = ends.heard.recv(), if settled && !gone && out.is_empty() && commands.len() < COMMANDS => match text {
                Some(text) => machine.client(&text),
                // What it asked for last is still asked.
                None => {
                    gone = true;
                    continue;
                }
            },
            _ = again.tick(), if machine.wants_again() => machine.again(),
        };
        for act in acts {
            match act {
                Act::Client(message) => out.push_back(message),
                Act::Octo(command) => commands.push_back(*command),
            }
        }
    }
}
