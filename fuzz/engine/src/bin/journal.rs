//! See `octo_fuzz::journal::rows`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| octo_fuzz::journal::rows::run_some(input));
