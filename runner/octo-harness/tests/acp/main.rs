//! The translator for agents that speak ACP, against recordings of five of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/invariants.rs"]
mod invariants;
mod recordings;
mod replay;
