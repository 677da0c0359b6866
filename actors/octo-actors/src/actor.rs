//! What an actor is: state, a start, a handler. Everything else is the kit's.

use serde_json::Value;

use crate::Ctx;

/// Why an actor failed: any error, by `?`. A failure ends the incarnation; its kind's policy says what follows.
pub type Failure = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An actor: owned state, changed by one message at a time.
///
/// `Self` is the state of one incarnation; a restart makes a new one through [`Actor::start`], so whatever must
/// survive is durable elsewhere. Sockets, processes and permits are owned by types with `Drop`: an incarnation may
/// be dropped at any await, and [`Actor::stopping`] runs only in a graceful stop.
pub trait Actor: Sized + Send + 'static {
    /// What it is told.
    type Msg: Send + 'static;
    /// What a start needs; the factory makes it anew for each incarnation.
    type Args: Send + 'static;

    /// Builds an incarnation. Runs in the actor's own task: a slow start delays nobody, a panic is a failure.
    fn start(args: Self::Args, ctx: &Ctx<Self::Msg>) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Handles one message. Never await disk, network or another actor here without a deadline: long work goes to
    /// [`Ctx::spawn_task`]. The future may be dropped at any await (kill).
    fn handle(&mut self, message: Self::Msg, ctx: &Ctx<Self::Msg>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What an operator sees of it. No secrets, no unbounded lists. Called after messages, at most every 250 ms.
    fn inspect(&self) -> Value {
        Value::Null
    }

    /// What is wrong with it as it sees it itself: a sentence for an operator, with what to do about it. Without a secret. Called with [`Actor::inspect`];
    /// what its supervisor and its mailbox show (stuck, degraded, full) needs no word here.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Last words in a graceful stop, before its children are stopped. Never runs after a failure or a kill.
    fn stopping(&mut self, _ctx: &Ctx<Self::Msg>) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// A message's name, for `trace` and for what a stuck actor is shown to be inside of.
    fn name_of(_message: &Self::Msg) -> &'static str {
        short_type_name::<Self::Msg>()
    }
}

fn short_type_name<T>() -> &'static str {
    let full = std::any::type_name::<T>();
    let plain = full.split('<').next().unwrap_or(full);
    plain.rsplit("::").next().unwrap_or(plain)
}
