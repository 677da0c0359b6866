//! Real sandboxes around real processes: each test states a promise of the launcher.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

mod bed;
mod cli;
mod isolation;
mod lease;
mod limits;
mod network;
mod planting;
mod process;
mod terminal;
mod tree;
mod unsandboxed;
