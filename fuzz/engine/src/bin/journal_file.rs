//! See `octo_fuzz::journal::file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| octo_fuzz::journal::file::run(input));
