//! A machine in the server, on what a socket of the mux sits on: the same commands with their policies and limits, the same outbox, followers and pump.

use super::driver::{Back, Ends, drive};
use super::machine::Machine;
use crate::auth::Principal;
use crate::mux::commands::{Commands, Context};
use crate::mux::outbox::{Closing, Outbox};
use crate::mux::pump::{Pump, Stats};
use crate::state::AppState;
use futures_util::StreamExt as _;
use octo_protocol::{Command, CommandFrame};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::PollSender;

/// Commands on their way.
const COMMANDS: usize = 64;
/// How long commands that were taken may go on after the client has left, so that the last thing sent is still done.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// What a command counts besides its message and images.
const COMMAND_BYTES: usize = 512;

/// Serves one client: what it says comes from `heard`, what is said to it goes to `said`. Ends with either.
pub async fn serve(
    state: AppState,
    principal: Principal,
    name: &str,
    stats: Arc<Stats>,
    heard: mpsc::Receiver<Utf8Bytes>,
    said: mpsc::Sender<Value>,
) {
    let (outbox, out) = Outbox::new(Arc::clone(&state.figures));
    // One frame under way: whatever else there is waits in the rings and journals.
    let (frames, mut taken) = mpsc::channel::<Message>(1);
    let pump = Pump::new(name.into(), PollSender::new(frames), out, outbox.closing(), Arc::clone(&stats));
    let (asked, mut asking) = mpsc::channel::<CommandFrame>(COMMANDS);
    let context = Arc::new(Context { state, principal, outbox: outbox.clone(), stats });
    let frame = |message| async move {
        match message {
            Message::Text(text) => Some(Back::Frame(text)),
            _ => None,
        }
    };
    let back = futures_util::stream::iter([Back::Up])
        .chain(futures_util::stream::poll_fn(move |context| taken.poll_recv(context)).filter_map(frame));
    let mut machine = Machine::new(None);
    let driving = async {
        drive(&mut machine, Ends { heard, said, back: std::pin::pin!(back), asked }).await;
    };
    let carrying_out = async {
        let (mut commands, mut tasks) = (Commands::new(context), JoinSet::new());
        loop {
            tokio::select! {
                frame = asking.recv() => match frame {
                    Some(frame) => {
                        let bytes = size(&frame);
                        commands.dispatch(frame, bytes, &mut tasks).await;
                    }
                    None => break,
                },
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a command panicked");
                    }
                }
            }
        }
        let finish = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FINISH_WITHIN, finish).await;
        outbox.close(Closing::new(1000, "closed by the client"));
    };
    tokio::join!(driving, carrying_out, pump.run(|| ()));
}

fn size(frame: &CommandFrame) -> usize {
    let said = match &frame.command {
        Command::Prompt { message, images, .. } => {
            message.len() + images.iter().flatten().map(|image| image.data.len() + image.media_type.len()).sum::<usize>()
        }
        _ => 0,
    };
    COMMAND_BYTES + said
}
