//! What every supervisor does, as data: docs/architecture.md shows it, and this holds the two together.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_actors::{Kind, OnExceeded, Restart};
use std::path::Path;

const HEAD: &str = "| actor | kind | restart | intensity | beyond it | back-off | mailbox | stuck | stops within |\n|---|---|---|---|---|---|---|---|---|\n";

fn all() -> Vec<(String, Kind)> {
    let of = |program: &str, kinds: Vec<(&'static str, Kind)>| -> Vec<(String, Kind)> {
        kinds.into_iter().map(|(path, kind)| (format!("{program} `{path}`"), kind)).collect()
    };
    [of("octo", octo::kinds()), of("octo-runner", octo_runner::kinds()), of("octo-eavs", octo_eavs::kinds())].concat()
}

#[test]
fn the_page_shows_every_kind_with_its_policy() {
    let rows: String = all().into_iter().map(|(actor, kind)| format!("| {actor} | {kind} |\n")).collect();
    let table = format!("{HEAD}{rows}");
    println!("{table}");
    let page = std::fs::read_to_string(octo_e2e::repository().join("docs/architecture.md")).unwrap();
    assert!(page.contains(&table), "docs/architecture.md, \"Supervision\", shows other policies than these:\n{table}");
}

#[test]
fn there_is_no_kind_beside_those_on_the_page() {
    fn count(dir: &Path) -> usize {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    return count(&path);
                }
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let makers = ["Kind::permanent(", "Kind::transient(", "Kind::temporary(", "Kind::new("];
                makers.iter().map(|maker| text.matches(maker).count()).sum()
            })
            .sum()
    }
    let sources = ["actors/octo/src", "actors/octo-eavs/src", "runner/octo-runner/src"];
    let made: usize = sources.iter().map(|dir| count(&octo_e2e::repository().join(dir))).sum();
    assert_eq!(made, all().len(), "a kind is made that `kinds()` of its crate does not name");
}

/// One user's trouble ends at that user, one session's at that session; only what everybody needs ends the house.
#[test]
fn whoever_belongs_to_one_user_degrades_and_does_not_escalate_beyond_it() {
    for (actor, kind) in all() {
        let of_one = actor.contains("/users/<u>") || actor.contains("/sessions/<s>") || actor.contains("/link/<n>");
        let contained = kind.on_exceeded == OnExceeded::Degrade || kind.intensity.max == u32::MAX || kind.restart == Restart::Temporary;
        assert!(!of_one || contained, "{actor}: {kind}");
    }
}
