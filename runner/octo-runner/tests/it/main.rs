//! The real binary over its socket, with a scripted agent in a real sandbox.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crash;
mod link;
mod sessions;
mod support;
