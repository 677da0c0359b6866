//! Faults of the whole system that no other suite has: docs/faults.md maps every row to its test, and [`page`] holds that map.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cycles;
mod endings;
mod frozen;
mod page;
mod panics;
mod upstream;
