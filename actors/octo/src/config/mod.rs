//! Configuration: one table of keys, from which parsing, defaults, `octo config` and the documentation come.
//!
//! A value comes from the built-in default, the file, the environment (`OCTO__SECTION__KEY`) or a flag, later ones winning, and
//! [`Config`] remembers which. Unknown keys are refused with the key that was probably meant. The file is read with `toml` itself
//! rather than through a merging crate, because only its spans tell the line of a key.

mod check;
mod document;
mod environment;
mod file;
mod harness;
mod key;
mod keys;
mod load;
mod settings;
mod show;
mod table;
mod telemetry;
mod value;

pub use check::Standing;
pub use document::{configuration_md, example_toml};
pub use environment::Environment;
pub use harness::{HarnessSettings, Harnesses, ModelPattern, Protocol, canonical as canonical_harness};
pub use key::{Capability, Key, Kind};
pub use load::{Config, ConfigError, Overrides, Problem};
pub use settings::{
    AuthSettings, EavsSettings, LOG_FORMAT, LogSettings, PiSettings, RunnerSettings, SandboxSettings, ServerSettings, SessionSettings,
    Settings,
};
pub use show::show;
pub use table::{Section, find, keys, nearest, sections};
pub use telemetry::TelemetrySettings;
pub use value::{Origin, Value};
