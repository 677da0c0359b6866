//! The translator for Claude Code: recordings of real processes decoded, its behaviour step by step, and what it makes of rubbish.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod background;
mod behaviour;
mod forks;
#[path = "../common/invariants.rs"]
mod invariants;
mod properties;
mod recordings;
mod replay;
mod robustness;
mod scene;
mod tools;
