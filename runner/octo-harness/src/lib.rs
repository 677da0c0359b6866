//! Agent adapters as pure translators: bytes from an agent in, canonical events out; canonical commands in, bytes for the agent out.
//!
//! Owns: each agent's dialect, its framing, its quirks, and what follows from them for state, queues and resume.
//! Promises: however the agent's output is cut into reads, the outputs are the same; a line that is too long, not UTF-8 or not
//! understood never loses its neighbours; nothing but whole JSON objects is ever written to an agent.
//!
//! Never: I/O, clocks (the time is passed in), an async runtime, process handling, journalling.

pub mod acp;
pub mod bridge;
pub mod claude;
pub mod decode;
pub mod harness;
pub mod lines;
pub mod message;
pub mod pi;
pub mod tools;

pub use harness::{
    COMPACTION_SUMMARY, ENTRY_ID, ExitReport, ForkedAway, Harness, HarnessState, Input, NEW_CONVERSATION, Outbox, Output, StartOptions,
    Unusable,
};
