//! `/metrics`: what is told, to whom, and what `deploy/prometheus` makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deploy;
mod told;
