//! octo-sandbox
fn main() {}
