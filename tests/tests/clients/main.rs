//! Slow, dead and hostile clients of a real octo: each costs a bounded amount, nobody else notices, and nothing of them stays.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod floods;
mod garbage;
mod limits;
mod raw;
mod room;
mod share;
mod slow;
mod storm;
