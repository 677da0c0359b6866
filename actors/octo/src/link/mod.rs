//! The control plane's end of the runner link.
//!
//! Owns one connection to one user's runner: the handshake with peer credentials, one reader and one writer, requests that are
//! answered out of order, subscriptions with credit, and the heartbeat; and, on a connection of its own, the runner's replacement.
//!
//! Promises: every request started gets exactly one outcome, `runner_unavailable` when the link is lost; what a runner may make this
//! side hold is bounded (pending requests, queued bytes, events by credit); a frame that breaks the rules ends the link and nothing else.
//!
//! Never: reconnects by itself (the supervised `runner` actor does), resends anything (idempotent requests are the client's to resend),
//! or trusts a frame further than "some process of this user sent it".

mod connect;
mod driver;
mod handle;
mod subscription;
mod upgrade;

pub use connect::{ConnectError, Dial, FromRunner, HANDSHAKE_WITHIN, Target, ToRunner, connect, over, welcomed};
pub use driver::Driver;
pub use handle::{Link, MAX_PENDING, MAX_QUEUED_BYTES, MAX_SUBSCRIPTIONS, Started};
pub use subscription::{Item, Subscription};
pub use upgrade::{UPGRADE_WITHIN, UpgradeError, Upgraded, upgrade};
