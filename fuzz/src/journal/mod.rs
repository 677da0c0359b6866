//! Reading the journal: what clients may ask of a whole one, and what a damaged one does to whoever reads it.
//!
//! - [`rows`]: a journal in memory whose columns hold anything; fast.
//! - [`file`]: a journal's file with bytes changed or cut off; slow, for it is a whole opening each time.
//! - [`sample`]: what stands in the journal before.

pub mod file;
pub mod rows;
pub mod sample;
