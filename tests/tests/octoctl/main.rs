//! `octoctl`, whole commands against real binaries: what each prints, and its exit code, with octo up and down.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod bundle;
mod down;
mod help;
mod inside;
mod metrics;
mod run;
mod up;
