//! What every part of one runner shares.

use crate::agent::Host;
use crate::agents::Finder;
use crate::figures::Figures;
use crate::journal::Journal;
use crate::options::Options;
use crate::permissions::Rules;
use crate::trace::Spans;
use octo_protocol::permission::PermissionPolicy;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// The journal, the host of agents and the options of one runner.
pub struct Shared {
    pub options: Options,
    pub journal: Journal,
    /// What is counted; the journal's writer counts in the same ones.
    pub figures: Arc<Figures>,
    /// What the configuration says of tool calls.
    pub policy: PermissionPolicy,
    /// What this user has octo remember of them.
    pub rules: Rules,
    pub host: Arc<dyn Host>,
    pub finder: Finder,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Unix milliseconds.
    pub started_at: i64,
    /// What octo has not fetched of the traces.
    pub spans: Spans,
    /// How many look at some session's events on their way.
    pub watching: Arc<AtomicUsize>,
}
