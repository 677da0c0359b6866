//! octo-eavs as a process, against a provider on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod demo;
mod instance;
mod keys;
mod lifecycle;
mod passing;
mod provider;
mod succession;
mod traces;
