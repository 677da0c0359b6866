//! See `octo_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| octo_fuzz::config::run(input));
