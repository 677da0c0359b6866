//! octo-e2e
