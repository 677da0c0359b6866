//! octo-harness
