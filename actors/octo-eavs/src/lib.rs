//! octo-eavs, octo's LLM proxy: a process of its own, so that restarting octo cuts no answer.
//!
//! It owns the real provider keys (out of octo's `config.toml` and environment), the virtual keys that stand for them, and what
//! each virtual key used. An agent gets a virtual key and a base URL, never more.
//!
//! It promises: requests and answers pass byte for byte, piece by piece as they come; a revoked key is refused and its streams end
//! at once; budgets hold for parallel requests; a registered key is on the disk before that is acknowledged; no key is ever
//! logged or shown.
//!
//! It never translates between dialects, retries, or stores what people and models say.
//!
//! | module | noun |
//! |---|---|
//! | [`server`], [`listener`], [`door`] | the instance, where it listens, how it ends |
//! | [`app`], [`config`], [`models`] | shared state, providers |
//! | [`proxy`], [`upstream`], [`meter`] | one request's way there and back |
//! | [`key`], [`record`], [`store`], [`registry`] | virtual keys, budgets, counters |
//! | [`succession`], [`left`] | from the one that ends to the next |
//! | [`usage`], [`sniff`], [`dialect`] | what is read beside the bytes |
//! | [`demo`] | the demonstration model |
//! | [`admin`] | octo's side |

pub mod admin;
pub mod app;
pub mod config;
pub mod demo;
pub mod dialect;
pub mod door;
pub mod figures;
pub mod key;
pub mod left;
pub mod limits;
pub mod listener;
pub mod meter;
pub mod models;
pub mod proxy;
pub mod record;
pub mod registry;
pub mod server;
pub mod sniff;
pub mod standing;
pub mod store;
pub mod succession;
pub mod trace;
pub mod upstream;
pub mod usage;

pub use server::{Options, Server, StartError};

/// Where each kind of actor of octo-eavs lives, and its policy.
#[must_use]
pub fn kinds() -> Vec<(&'static str, octo_actors::Kind)> {
    vec![("/<listener>", door::DOOR)]
}
