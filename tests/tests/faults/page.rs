//! docs/faults.md: no row is missing, and every test that it names exists.

use std::collections::BTreeSet;
use std::path::Path;

/// The rows that octo has to stand.
const ROWS: [u32; 31] =
    [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 27, 28, 29, 30, 31, 34, 35, 36, 37];

/// Every function of the workspace that is a test.
fn tests(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !["target", "node_modules", ".git"].contains(&name.as_str()) {
            tests(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                if let Some(rest) = line.split("fn ").nth(1).filter(|_| is_test && line.contains('(')) {
                    found.extend(rest.split('(').next().map(str::to_owned));
                    is_test = false;
                }
            }
        }
    }
}

#[test]
fn every_row_is_on_the_page_and_every_test_that_it_names_is_in_the_sources() {
    let root = octo_e2e::repository();
    let mut known = BTreeSet::new();
    tests(&root, &mut known);
    assert!(known.len() > 500, "the sources are there: {}", known.len());
    let page = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| R"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let numbers: Vec<u32> = rows.iter().map(|row| row[0].trim_start_matches('R').parse().unwrap()).collect();
    assert_eq!(numbers, ROWS);
    for row in &rows {
        assert!(row.len() == 4 && row.iter().all(|cell| cell.len() > 1), "{row:?}");
        let named: Vec<&str> = row[3].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{} names no test", row[0]);
        for name in named {
            assert!(known.contains(name), "{} names {name}, which is no test", row[0]);
        }
    }
    for name in page.lines().filter(|line| !line.starts_with("| R")).flat_map(|line| line.split('`').skip(1).step_by(2)) {
        let is_name = name.len() > 30 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
        assert!(!is_name || known.contains(name), "the page names {name}, which is no test");
    }
}
