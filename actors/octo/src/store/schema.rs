//! The schema version and the way from older ones.

/// The version that this build writes.
pub const SCHEMA_VERSION: u32 = 1;

/// One step: from the version at its index to the next one.
pub(super) type Migration = fn(&sled::Db) -> Result<(), String>;

/// Version 0 is a store whose first start ended before its version was written: it holds nothing that would have to change.
pub(super) const MIGRATIONS: &[Migration] = &[|_| Ok(())];

pub(super) const META: &str = "meta";
pub(super) const VERSION_KEY: &[u8] = b"schema_version";
