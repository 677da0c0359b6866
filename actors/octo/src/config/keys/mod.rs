//! The rows of the table, by section.

pub(super) mod agents;
pub(super) mod core;
pub(super) mod machines;
pub(super) mod services;
pub(super) mod workbench;
