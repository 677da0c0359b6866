//! What every supervisor does, as data: docs/architecture.md shows it, and this holds the two together.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo::auth::{OWNERS_RIGHTS, OwnersRight};
use octo_actors::{Kind, OnExceeded, Restart};
use std::collections::BTreeSet;
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

/// A kind that is new is the operators' alone until somebody has decided what its user may do with it.
#[test]
fn what_its_user_may_do_with_each_kind_of_actor_is_decided_and_on_the_page() {
    let within = |(path, kind): (&'static str, Kind)| {
        let below = path.strip_prefix("/users/<u>")?;
        Some((below.trim_start_matches('/').to_owned(), kind.name))
    };
    let of_runner = |(path, kind): (&'static str, Kind)| (format!("runner{path}"), kind.name);
    let there: BTreeSet<(String, &str)> =
        octo::kinds().into_iter().filter_map(within).chain(octo_runner::kinds().into_iter().map(of_runner)).collect();
    let decided: BTreeSet<(String, &str)> = OWNERS_RIGHTS.iter().map(|(place, kind, _)| ((*place).to_owned(), *kind)).collect();
    assert_eq!(there, decided, "octo::auth::OWNERS_RIGHTS has other kinds than there are");
    let row = |(place, kind, right): &(&str, &str, OwnersRight)| {
        let place = if place.is_empty() { "–".to_owned() } else { format!("`{place}`") };
        let may = match right {
            OwnersRight::Look => "looks",
            OwnersRight::Restart => "looks, restarts",
        };
        format!("| {place} | {kind} | {may} |\n")
    };
    let table = format!("| below `/users/<u>` | kind | its user |\n|---|---|---|\n{}", OWNERS_RIGHTS.iter().map(row).collect::<String>());
    let page = std::fs::read_to_string(octo_e2e::repository().join("docs/architecture.md")).unwrap();
    assert!(page.contains(&table), "docs/architecture.md, \"Looking inside\", shows other rights than these:\n{table}");
}
