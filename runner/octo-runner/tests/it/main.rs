//! The real binary over its socket, with a scripted agent in a real sandbox.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attach;
mod crash;
mod disk;
mod link;
mod real_pi;
mod sessions;
mod sleep;
mod support;
