//! What of the machine a sandbox shows: from a plan to an ordered list of mounts.
//!
//! Owns the order, which is the security: the machine read-only, then what is hidden of it, the home, the workspace and
//! its protections by depth, octo's own directories masked, and only then the binds that were asked for by name.
//! Looks at the file system, never changes it, but for creating absent mask points ([`Layout::create_mask_points`]).

#[cfg(target_os = "linux")]
mod bwrap;
mod home;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(target_os = "linux")]
mod passwd;
#[cfg(target_os = "linux")]
mod pins;

#[cfg(target_os = "linux")]
pub(crate) use bwrap::{INSIDE_PROGRAM, arguments};
#[cfg(target_os = "linux")]
pub(crate) use home::protected_text;
pub(crate) use home::{CONFIGURATION, PROTECTED_ALWAYS, PROTECTED_FILES, PROTECTED_IF_PRESENT, SECRETS, TOOL_DIRECTORIES};
#[cfg(target_os = "linux")]
pub(crate) use layout::{Account, Layout, Mount, identity};
