//! The one table of configuration keys, by section. Parsing, defaults, `octo config` and `docs/configuration.md` come from it.

use super::key::Key;
use super::keys::{agents, core, machines, services, workbench};

/// A section of the file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its name, without brackets; empty for the top of the file.
    pub name: &'static str,
    /// What it is about.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// Every section, in the order of the documentation.
pub const SECTIONS: &[&[Section]] = &[core::SECTIONS, agents::SECTIONS, machines::SECTIONS, services::SECTIONS, workbench::SECTIONS];

/// Every section.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter().flat_map(|group| group.iter())
}

/// Every key.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    sections().flat_map(|section| section.keys)
}

/// The key at `path`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    keys().find(|key| key.matches(path))
}

/// Whether `path` is a table of the configuration.
#[must_use]
pub fn is_section(path: &str) -> bool {
    keys().any(|key| key.is_below(path))
}

/// Whether `path` is a table with a name of the operator's choice, which an empty table would only seem to set.
#[must_use]
pub fn is_free_section(path: &str) -> bool {
    sections().any(|section| {
        let free = section.name.strip_suffix(".NAME").and_then(|above| path.strip_prefix(above)?.strip_prefix('.'));
        free.is_some_and(|name| !name.contains('.'))
    })
}

/// The known key or section that `path` most likely means.
#[must_use]
pub fn nearest(path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('.').collect();
    let mut best: Option<(usize, String)> = None;
    for key in keys() {
        // A free name in the middle is taken over, so that the answer can be copied.
        let names: Vec<&str> =
            key.path.split('.').enumerate().map(|(i, s)| if s == "*" { segments.get(i).copied().unwrap_or("NAME") } else { s }).collect();
        for length in 1..=names.len() {
            let candidate = names[..length].join(".");
            let distance = distance(path, &candidate);
            if best.as_ref().is_none_or(|(least, _)| distance < *least) {
                best = Some((distance, candidate));
            }
        }
    }
    // Same last word in another section is what people mean more often than a distant spelling.
    let last = segments.last().copied().unwrap_or(path);
    let homonym = keys().find(|key| key.path.rsplit('.').next() == Some(last)).map(|key| key.path.to_owned());
    match best {
        Some((distance, candidate)) if distance <= 1 + path.len() / 4 => Some(candidate),
        _ => homonym,
    }
}

/// Edits that turn `a` into `b`. Inputs are keys, so short; longer ones are cut.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(80).collect(), b.chars().take(80).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = if x == y { corner } else { 1 + corner.min(row[j]).min(row[j + 1]) };
            corner = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
