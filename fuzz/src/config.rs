//! The configuration file, as anybody may have written it.
//!
//! What must hold: it is taken whole or refused with sentences that name a line; what is taken says where each value is from, and its settings are
//! either made or refused.

use octo::Config;
use octo::config::{ConfigError, Environment, Origin, Overrides};
use octo::paths::Paths;
use std::sync::OnceLock;

fn standing() -> &'static (Environment, Paths) {
    static STANDING: OnceLock<(Environment, Paths)> = OnceLock::new();
    STANDING.get_or_init(|| {
        let env: Environment = [("HOME", "/home/alice"), ("XDG_RUNTIME_DIR", "/run/user/1")].into_iter().collect();
        let paths = Paths::resolve(&env).expect("paths of a home");
        (env, paths)
    })
}

/// One file.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (env, paths) = standing();
    match Config::from_text(env, paths.clone(), text, &Overrides::default()) {
        Ok(config) => {
            for (path, _, origin) in config.entries() {
                assert!(matches!(origin, Origin::Default | Origin::File(..)), "{path} comes from {origin}");
            }
            let _ = config.warnings();
            let _ = config.settings();
        }
        Err(ConfigError::Invalid(problems)) => {
            assert!(!problems.is_empty());
            let lines = text.lines().count() + 1;
            for problem in problems {
                assert!(!problem.what.is_empty());
                let line: usize = problem.place.rsplit(':').next().and_then(|line| line.parse().ok()).expect("a problem has a line");
                assert!((1..=lines).contains(&line), "line {line} of {lines}");
            }
        }
        Err(other) => panic!("{other}"),
    }
}
