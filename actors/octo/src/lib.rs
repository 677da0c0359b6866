//! octo
