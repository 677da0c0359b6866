//! See `octo_fuzz::peer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| octo_fuzz::peer::run(input));
