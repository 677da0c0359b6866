//! The runner link: postcard frames over a Unix stream socket between the control plane and one user's runner.
//!
//! Rules. [`Hello`] and [`Upgrade`] are frozen for ever; a struct never changes; enums only grow at their end; versions N and
//! N−1 interoperate. postcard has no field names: nothing here is internally tagged, untagged, flattened or skipped, and JSON travels
//! as bytes. A hex snapshot holds every frame.
//!
//! Order. The control plane connects and sends [`Hello`]; the runner answers [`Welcome`] or [`Refused`]. Then requests are answered
//! out of order by `id`; a subscription streams a session's events while it has credit; both sides ping every [`HEARTBEAT`] and
//! give the link up after [`DEAD_AFTER`] of silence.

mod codec;
mod frame;

pub use codec::{Decoder, LinkError, encode};
pub use frame::*;

use std::time::Duration;

/// The newest version of the link that this build speaks.
pub const LINK_VERSION: u16 = 2;
/// The oldest version of the link that this build speaks.
pub const LINK_VERSION_MIN: u16 = 1;
/// Largest frame on the wire; checked before anything is allocated.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;
/// A frame whose encoding is larger than this travels as [`Chunk`]s of at most this size, so that others may overtake it.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// Largest frame after its chunks were put together.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// Most messages in chunks under way at once on one link.
pub const MAX_OPEN_MESSAGES: usize = 16;
/// How often each side pings.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// Silence after which the link is given up.
pub const DEAD_AFTER: Duration = Duration::from_secs(15);
/// Credit that a subscription starts with, in payload bytes, and the most it may hold.
pub const SUBSCRIPTION_CREDIT: u32 = 1024 * 1024;
