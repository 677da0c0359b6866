//! What must hold for whatever comes from outside: one function for each place where octo reads bytes that it does not trust.
//!
//! Owns the bodies of the fuzz targets: each takes any bytes and panics when a promise does not hold. The engine in `fuzz/engine` calls them some ten
//! million times with inputs that it makes up; the tests here call them with the inputs that were kept in `fuzz/corpus`, so that what was found
//! once stays found.
//!
//! Promises: a body means the same for the same bytes, on every machine and in every order.
//!
//! Never: the network, a clock, or a file beyond a temporary directory.

// A promise that does not hold shall end the run: that is what these bodies are for.
#![allow(clippy::expect_used, clippy::unwrap_used)]

pub mod claude;
#[cfg(feature = "server")]
pub mod config;
pub mod corpus;
pub mod dice;
#[cfg(feature = "runner")]
pub mod journal;
mod json;
mod life;
pub mod link;
#[cfg(feature = "server")]
pub mod llm;
pub mod mutate;
pub mod mux;
#[cfg(feature = "server")]
pub mod peer;
pub mod pi;
pub mod words;

/// A target: its name, which is also its corpus's, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target that is built.
pub const TARGETS: &[Target] = &[
    ("mux", mux::run),
    ("link", link::run),
    ("pi", pi::run),
    ("claude", claude::run),
    #[cfg(feature = "runner")]
    ("journal", journal::rows::run),
    #[cfg(feature = "runner")]
    ("journal_file", journal::file::run),
    #[cfg(feature = "server")]
    ("peer", peer::run),
    #[cfg(feature = "server")]
    ("config", config::run),
    #[cfg(feature = "server")]
    ("llm", llm::run),
];
