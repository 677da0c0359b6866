//! Promises of the mux WebSocket, the users tree and the link, held against a fake runner.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod acp;
mod actors;
mod channel;
mod greedy;
mod link;
mod resume;
mod retention;
mod support;
mod trouble;
