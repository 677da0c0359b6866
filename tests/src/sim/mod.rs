//! The whole system in one process, played from a seed.
//!
//! What is here needs neither octo nor octo-runner: the schedule of a seed ([`Plan`]), the ground it stands on ([`ground`]: its own random numbers and
//! its own time), and the flock of processes that play many seeds ([`flock`]). The players are in `tests/simulation`.
//!
//! Promises: a seed is one schedule and one history for ever, whatever was played before it and beside it.

pub mod flock;
pub mod ground;
mod plan;

pub use plan::{Act, Ending, Over, Plan, Step};
