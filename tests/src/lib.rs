//! Support for whole-system tests: an instance of octo with its own home, a client, and the history checker.
