//! octo-actors
