//! Where an octo can be found: a file in its state directory, which stays when octo has ended.

use serde::{Deserialize, Serialize};

/// Its name in the state directory.
pub const DOOR_FILE: &str = "door.json";

/// The name of a file beside it, there when octo was to start and did not.
pub const FAILED_START_FILE: &str = "failed-start.json";

/// Why octo did not start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedStart {
    /// Unix milliseconds.
    pub at: i64,
    /// A sentence.
    pub error: String,
    /// Of octo.
    pub version: String,
    pub config_file: String,
}

/// Where the octo that was served last from a state directory is, and where its things are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Door {
    /// The admin socket.
    pub socket: String,
    /// As a browser on this machine reaches it.
    pub url: String,
    /// Sockets; those of runners are `runners/<user>.sock` in it.
    pub run_dir: String,
    pub logs_dir: String,
    pub data_dir: String,
    pub config_file: String,
    /// Of octo.
    pub version: String,
    pub pid: u32,
}
