//! What every part of one runner shares.

use crate::agents::Finder;
use crate::journal::Journal;
use crate::options::Options;
use octo_sandbox::Launcher;

/// The journal, the launcher and the options of one runner.
pub struct Shared {
    pub options: Options,
    pub journal: Journal,
    pub launcher: Launcher,
    pub finder: Finder,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Unix milliseconds.
    pub started_at: i64,
}
