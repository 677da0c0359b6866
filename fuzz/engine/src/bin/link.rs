//! See `octo_fuzz::link`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| octo_fuzz::link::run(input));
