//! The drill: a fault is planted, and one command of octoctl names it, whole, within two seconds. Twenty of them; what each is and what names it is
//! written in the test. Real binaries, and nothing of octo's is replaced.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agents;
mod clients;
mod disks;
mod room;
mod services;
mod starts;
