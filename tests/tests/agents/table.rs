//! The table in `docs/agents.md` is made of the rows that are played.

use crate::{Cell, ROWS};
use std::fmt::Write;

const BEGIN: &str = "<!-- made of tests/tests/agents by OCTO_UPDATE=1; do not edit -->\n";
const END: &str = "<!-- end -->\n";

fn table() -> String {
    let mut table = "| | pi 0.73.1 | pi 0.87.1 | Claude Code 2.1.330 |\n|---|---|---|---|\n".to_owned();
    for row in ROWS {
        let cells = row.cells.map(|cell| match cell {
            Cell::Works => "yes",
            Cell::Unsupported => "no",
            Cell::But(how) => how,
        });
        let _ = writeln!(table, "| {} | {} |", row.title, cells.join(" | "));
    }
    table
}

#[test]
fn the_table_in_the_documentation_is_what_is_played() {
    let path = octo_e2e::repository().join("docs/agents.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("docs/agents.md has a place for the table");
    let (stands, after) = rest.split_once(END).expect("the table ends");
    let made = table();
    if std::env::var_os("OCTO_UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert_eq!(stands, made, "run with OCTO_UPDATE=1 to write the table anew");
    }
}

/// The versions in the heading are those that are installed.
#[test]
fn the_versions_in_the_table_are_those_that_are_installed() {
    let root = octo_e2e::repository();
    let pinned = |file: &str, package: &str| {
        let manifest: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(root.join(file)).unwrap()).unwrap();
        manifest["dependencies"][package].as_str().unwrap().to_owned()
    };
    let heading = table().lines().next().unwrap().to_owned();
    for (file, package, name) in [
        ("tests/agents/pi-0.73/package.json", "@mariozechner/pi-coding-agent", "pi"),
        ("deploy/agents/package.json", "@earendil-works/pi-coding-agent", "pi"),
        ("deploy/agents/package.json", "@anthropic-ai/claude-code", "Claude Code"),
    ] {
        let version = pinned(file, package);
        assert!(heading.contains(&format!("{name} {version}")), "{name} {version} is not in {heading}");
    }
}
