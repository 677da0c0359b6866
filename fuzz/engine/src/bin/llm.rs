//! See `octo_fuzz::llm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| octo_fuzz::llm::run(input));
