//! Users as actors: each with the link to its runner, its sessions and its connections.
//!
//! ```text
//! users                     permanent  wakes a user on first use, lets idle ones sleep
//! └─ alice                  permanent  5 in 60 s; beyond that alice is degraded and nobody else
//!    ├─ runner              permanent  the link; back-off 0.1 s → 30 s with jitter
//!    ├─ sessions/ses_1      transient  3 in 60 s; one live subscription, fanned out to every connection attached
//!    └─ connections/7       temporary  (see [`crate::mux`])
//! ```
//!
//! Promises: an event of a runner is checked once and wrapped once, whatever the number of watchers; a session nobody watches is not
//! followed; losing the link loses no event (a session continues after the last `seq` it has); one user's failures stay that user's.
//!
//! Never: keeps what a slow watcher has not read (it reads the journal), waits for a watcher, or starts an agent.

mod attach;
mod feed;
mod passing;
mod payload;
mod registry;
mod runner;
mod session;
mod traces;
mod user;
mod watch;

pub(crate) use registry::KIND as USERS;
pub(crate) use runner::KIND as RUNNER;
pub(crate) use session::KIND as SESSION;
pub(crate) use user::KIND as USER;

pub use feed::{Attached, Feed, Journal, LOG_LIMITS, Reach, View};
pub use passing::{MAX_WATCHERS, Passed, Taken, Watchers, watch};
pub use payload::{MAX_EVENT_BYTES, MAX_EVENT_DEPTH, own_event, wrap};
pub(crate) use payload::{depth, now_ms};
pub use registry::{Users, UsersConfig};
pub use traces::{MAX_TRACES_OF_ONE, MAX_TRACES_OF_USERS, OwnTrace, OwnTraces, TooManyTraces};
pub use user::{Connected, FOLLOW_LINGER, MAX_FEEDS, User};
pub use watch::{Difference, Tree, Watch};
