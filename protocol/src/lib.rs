//! The canonical agent protocol of octo.
//!
//! Owns every shape that crosses a process boundary: the messages, parts, commands, events and responses that clients and
//! runners exchange (JSON), the frames of the mux WebSocket (JSON), and the frames of the runner link (postcard).
//! The TypeScript types in `web/src/protocol` and `docs/protocol.schema.json` are generated from here; a test fails when they drift.
//!
//! Promises: what is written by one version is read by the next; unknown fields and unknown events are tolerated where a
//! client reads, unknown commands and channels are refused with a sentence where a server reads.
//!
//! Never: I/O, clocks, an async runtime, or a panic from outside data.

pub mod admin;
pub mod command;
pub mod event;
pub mod history;
pub mod ids;
pub mod input;
pub mod link;
pub mod message;
pub mod metrics;
pub mod model;
pub mod mux;
pub mod part;
pub mod permission;
pub mod provision;
pub mod response;
pub mod session;
pub mod trace;

pub use command::{Command, CommandFrame, SessionConfig};
pub use event::{Event, EventKind, EventPayload};
pub use ids::{ClientId, Cursor, Epoch, RunnerId, SessionId};
pub use input::{InputAnswer, InputRequest};
pub use message::{Message, Role, Usage};
pub use model::{Model, ThinkingLevel};
pub use part::Part;
pub use permission::{PermissionMode, PermissionRule};
pub use response::{ErrorCode, ProtocolError, Response};
pub use session::{SessionState, SessionStatus, SessionSummary};
pub use trace::TraceContext;

/// Version of the mux protocol, announced in the greeting.
pub const MUX_PROTOCOL: u32 = 1;
