//! See `octo_fuzz::claude`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| octo_fuzz::claude::run(input));

// Two of three changes keep the JSON whole; the engine's own are the others.
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut chance = octo_fuzz::mutate::Chance::new(u64::from(seed));
    if chance.below(3) == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let changed = octo_fuzz::mutate::lines(&data[..size], max_size, &octo_fuzz::words::CLAUDE, &mut chance);
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
});
