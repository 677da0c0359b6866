//! Every bench still runs, and what it prints is a figure. How fast is not looked at here: figures are of a quiet machine and of release builds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::Value;
use std::process::Command;

fn bench(arguments: &[&str]) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_octo-bench")).args(arguments).output().unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

fn smoke(names: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("figures.json");
    let arguments: Vec<&str> = ["run", "--smoke", "--json", file.to_str().unwrap()].into_iter().chain(names.iter().copied()).collect();
    let (table, success) = bench(&arguments);
    assert!(success, "{names:?} runs");
    let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let figures = report["figures"].as_array().unwrap();
    for name in names {
        let of_it: Vec<_> = figures.iter().filter(|figure| figure["bench"] == *name).collect();
        assert!(!of_it.is_empty(), "{name} gives figures");
        for figure in of_it {
            let octo = figure["octo"].as_array().unwrap();
            assert!(octo.len() == 1 && octo[0].as_f64().unwrap().is_finite(), "{figure}");
            assert!(table.contains(figure["name"].as_str().unwrap()), "{figure} is in the table: {table}");
        }
    }
}

#[test]
fn what_reaches_watchers_is_measured() {
    smoke(&["latency", "fanout", "silent", "burst", "crowd", "storm"]);
}

#[test]
fn what_is_stored_and_linked_is_measured() {
    smoke(&["link", "journal", "translate"]);
}

#[test]
fn what_is_held_when_nothing_happens_is_measured() {
    smoke(&["memory", "sessions", "inspect", "restart", "idle", "startup"]);
}

#[test]
fn what_octo_adds_to_a_real_pi_is_measured() {
    smoke(&["pi"]);
}

#[test]
fn every_bench_is_smoked_here_and_an_unknown_one_is_refused() {
    let (list, success) = bench(&["list"]);
    assert!(success);
    let source = include_str!("smoke.rs");
    for name in list.lines().map(|line| line.split_whitespace().next().unwrap()) {
        assert!(source.contains(&format!("\"{name}\"")), "{name} is run above");
    }
    assert!(!bench(&["run", "nothing-of-that-name"]).1);
}
