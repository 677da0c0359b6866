//! What every part of one runner shares.

use crate::agent::Host;
use crate::agents::Finder;
use crate::figures::Figures;
use crate::journal::Journal;
use crate::options::Options;
use std::sync::Arc;

/// The journal, the host of agents and the options of one runner.
pub struct Shared {
    pub options: Options,
    pub journal: Journal,
    /// What is counted; the journal's writer counts in the same ones.
    pub figures: Arc<Figures>,
    pub host: Arc<dyn Host>,
    pub finder: Finder,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Unix milliseconds.
    pub started_at: i64,
}
