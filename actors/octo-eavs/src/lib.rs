//! octo-eavs
