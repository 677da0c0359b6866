//! octo-sandbox
