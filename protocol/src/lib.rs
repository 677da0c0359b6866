//! octo-protocol
