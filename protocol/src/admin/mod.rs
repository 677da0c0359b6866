//! The inside of octo, as operators look at it: what `/api/admin` answers, on the admin socket and over HTTP alike, and what octo asks a
//! runner for it.
//!
//! Read by `octoctl` and by scripts: members are only ever added, and whoever reads passes over those that it does not know.

mod actor;
mod ask;
mod door;
mod path;
mod question;
mod report;

pub use actor::{Actors, Inspection, LeftOut, Outcome, TraceBatch, TraceLine, Traced};
pub use ask::{AgentAnswer, AgentQuestion};
pub use door::{DOOR_FILE, Door, FAILED_START_FILE, FailedStart};
pub use path::{EventPath, MAX_SOCKETS, PathLine, PathOpened, RunnerHop, RunnerHops, SocketPath};
pub use question::{Found, RunnerQuestion, TRACE_LAPSES_AFTER, TraceOpened};
pub use report::{
    AdminSession, AdminSessions, AdminUser, AdminUsers, Component, Damaged, HIDDEN, Imported, JournalReport, LogFile, LogFiles, LogText,
    MAX_DAMAGED, Restarted, Runner, Runners, ShownConfig, ShownKey, Slept, Standing, Status, StoreEntry, StoreHead, Trouble, Upgraded,
};
