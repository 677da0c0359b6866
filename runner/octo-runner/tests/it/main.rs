//! The real binary over its socket, with a scripted agent in a real sandbox.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admin;
mod attach;
mod clock;
mod crash;
mod disk;
mod durability;
mod endings;
mod kill_points;
mod lease;
mod limits;
mod link;
mod panics;
mod permissions;
mod power;
mod real_pi;
mod scarcity;
mod sessions;
mod signals;
mod sleep;
#[path = "../../../../tests/src/disk.rs"]
mod small_disk;
mod support;
mod upgrade;
