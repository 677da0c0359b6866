//! What the kit promises, each promise a test. Time is paused wherever it matters.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod census;
mod event_log;
mod inspection;
mod lab;
mod life;
mod mailbox;
mod restarts;
mod stopping;
mod tree;
