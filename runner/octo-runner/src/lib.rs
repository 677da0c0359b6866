//! octo's per-user daemon: it keeps a user's sessions, their journal and history, and runs their agents.
pub mod agent;
pub mod agents;
pub mod clock;
pub mod journal;
pub mod options;
pub mod session;
pub mod shared;
