//! The supervision kit: actors that are addressed, supervised, listed, inspected and traced.
//!
//! It wraps ractor; no other crate names ractor. What it adds are the rules that measurements of ractor taught:
//! mailboxes are bounded ([`Address`]), paths live in a [`Directory`] that is a value, an old incarnation is gone
//! with its tasks and children before the next one starts, and policy is data on the [`Kind`].
//!
//! - [`Actor`]: what you write: `start`, `handle`, optionally `inspect` and `stopping`. [`Ctx`] is its view of itself.
//! - [`Address`]: how others reach it: `tell` (never waits, `Busy` beyond the limit) and `ask` (with a deadline).
//! - [`Supervisor`]: `start_child`, `start_group`, `stop_child`; every actor has one for its children
//!   ([`Ctx::children`]), the [`System`] has the root.
//! - [`Directory`]: every actor's row; `inspect`, `trace`, `restart`, `stop` by path; remote trees are mounted in it.
//! - [`EventLog`]: what flows in bulk does not travel through mailboxes but through a ring with cursors.
//!
//! It holds no global (but the fail point of tests, in builds with debug assertions), never blocks a thread, never registers a ractor name, and has no `OutputPort` or `pg`.
//!
//! ```
//! use std::time::Duration;
//! use octo_actors::{Actor, Ctx, Failure, Kind, Reply, System};
//!
//! struct Counter(u64);
//! enum Msg { Add(u64), Total(Reply<u64>), Crash }
//!
//! impl Actor for Counter {
//!     type Msg = Msg;
//!     type Args = u64;
//!     async fn start(first: u64, _: &Ctx<Msg>) -> Result<Self, Failure> { Ok(Self(first)) }
//!     async fn handle(&mut self, msg: Msg, _: &Ctx<Msg>) -> Result<(), Failure> {
//!         match msg {
//!             Msg::Add(n) => self.0 += n,
//!             Msg::Total(reply) => reply.send(self.0),
//!             Msg::Crash => return Err("asked to crash".into()),
//!         }
//!         Ok(())
//!     }
//!     fn inspect(&self) -> serde_json::Value { serde_json::json!({ "total": self.0 }) }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
//! let system = System::new();
//! let counter = system.root().start_child::<Counter>(Kind::permanent("counter"), "counter", || 40).await?;
//! counter.tell(Msg::Add(2))?;
//! assert_eq!(counter.ask(Msg::Total, Duration::from_secs(1)).await?, 42);
//! counter.tell(Msg::Crash)?;
//! tokio::time::sleep(Duration::from_secs(1)).await; // it is back at once, but not yet
//! assert_eq!(counter.ask(Msg::Total, Duration::from_secs(1)).await?, 40);
//! assert_eq!(system.directory().list()[0].restarts, 1);
//! system.shutdown(Duration::from_secs(5)).await;
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?; Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod actor;
mod address;
mod backoff;
mod census;
mod child;
mod closing;
mod context;
mod directory;
mod event_log;
mod fail_point;
mod group;
mod incarnation;
mod inspect;
mod kind;
mod listeners;
mod lossy;
mod nursery;
mod path;
mod process;
pub mod room;
mod row;
mod supervise;
mod system;
mod trace;
mod usage;

pub use actor::{Actor, Failure};
pub use address::{Address, AskError, ReadyError, Reply, SendError};
pub use backoff::Backoff;
pub use census::KindCensus;
pub use context::{Ctx, MAX_TASKS, Task};
pub use directory::{Directory, MAX_ENDED, MAX_REMOTE_ROWS};
pub use event_log::{EventLog, Frame, LogLimits, Read};
#[cfg(debug_assertions)]
pub use fail_point::arm as arm_fail_point;
pub use inspect::{Inspection, REFRESH};
pub use kind::{Intensity, Kind, OnExceeded, Restart};
pub use listeners::{Listener, Listeners};
pub use lossy::LossyQueue;
pub use path::{ActorPath, MAX_PATH, PathError};
pub use process::{monotonic_ns, prepare_process, tidy_memory, unix_ns};
pub use row::{ActorRow, ActorState, MAX_ERROR, MAX_NAME};
pub use supervise::{Change, KILL_GRACE, Lifecycle, MAX_CHILDREN, RestartError, StartError, StopError, Stopped, Supervisor};
pub use system::{System, SystemBuilder};
pub use trace::{MAX_TAPS, Outcome, TRACE_BUFFER, TooManyTaps, Trace, Traced};
pub use usage::ProcessUsage;
