//! The kept inputs, through the very bodies that the fuzzer calls.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_fuzz::corpus;

fn replay(name: &str) {
    let (_, body) = octo_fuzz::TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let inputs = corpus::load(name).unwrap();
    assert!(inputs.len() >= 20, "the corpus of {name} is there: {} inputs", inputs.len());
    for (input, bytes) in inputs {
        if std::panic::catch_unwind(|| body(&bytes)).is_err() {
            panic!("fuzz/corpus/{name}/{input} breaks a promise; `fuzz/run.sh {name} fuzz/corpus/{name}/{input}` runs it alone");
        }
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            assert!(octo_fuzz::TARGETS.iter().map(|(name, _)| *name).eq(replayed));
        }
    };
}

replays! { mux link pi claude journal journal_file peer config llm }
