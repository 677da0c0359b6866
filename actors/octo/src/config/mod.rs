//! Configuration: one table of keys, from which parsing, defaults, `octo config` and the documentation come.

mod environment;
mod settings;

pub use environment::Environment;
pub use settings::{AuthSettings, EavsSettings, PiSettings, RunnerSettings, SandboxSettings, ServerSettings, SessionSettings, Settings};
