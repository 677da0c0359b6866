//! Traces of turns through the real binaries, to a collector of OTLP in the test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod collector;
mod context;
mod trouble;
mod turn;
