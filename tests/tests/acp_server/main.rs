//! octo as an agent of the Agent Client Protocol: the official SDKs, unmodified, as clients of `octo acp` and of `/acp`, with the real pi on the demo model.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod away;
mod others;
mod puppet;
mod raw;
mod refused;
mod sdks;
