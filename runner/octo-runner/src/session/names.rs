//! Names for people: a title out of the first prompt, and an id that can be read aloud.

/// Longest title made from a prompt, in characters.
const MAX_TITLE: usize = 80;

const FIRST: [&str; 40] = [
    "amber", "brave", "brisk", "calm", "clear", "clever", "coral", "crisp", "dusty", "eager", "early", "fair", "fleet", "fresh", "gentle",
    "golden", "grand", "happy", "hazel", "honest", "ivory", "jolly", "keen", "kind", "lively", "lucky", "mellow", "misty", "noble",
    "patient", "plain", "proud", "quiet", "rapid", "silver", "steady", "sunny", "swift", "tidy", "warm",
];
const SECOND: [&str; 40] = [
    "acorn", "badger", "beacon", "birch", "bridge", "brook", "cedar", "cliff", "cloud", "comet", "crane", "delta", "dune", "ember",
    "falcon", "fern", "field", "finch", "fjord", "garden", "harbor", "heron", "island", "lark", "maple", "meadow", "moon", "otter",
    "pebble", "pine", "planet", "raven", "reef", "river", "sparrow", "stone", "summit", "tide", "valley", "willow",
];

/// A new readable id.
pub fn readable_id() -> String {
    let pick = |words: &[&'static str; 40]| words[rand::random_range(0..words.len())];
    format!("{}-{}-{:04}", pick(&FIRST), pick(&SECOND), rand::random_range(0..10_000))
}

/// What stands between a prompt and a script for the demo model; a script is no title.
const DEMO_SCRIPT: &str = "@demo";

/// The first line of a prompt with something in it, shortened at a word.
pub fn title_of(prompt: &str) -> Option<String> {
    let line = prompt.lines().map(str::trim).find(|line| !line.is_empty())?;
    let line = match line.split_once(DEMO_SCRIPT) {
        Some(("", _)) => "A demonstration",
        Some((before, _)) => before.trim_end(),
        None => line,
    };
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= MAX_TITLE {
        return Some(line);
    }
    let cut: String = line.chars().take(MAX_TITLE).collect();
    let end = cut.rfind(' ').filter(|at| *at > MAX_TITLE / 2).unwrap_or(cut.len());
    Some(format!("{}…", cut.get(..end).unwrap_or(&cut).trim_end()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_title_is_one_short_line_whatever_the_prompt_holds() {
        assert_eq!(title_of("\n\n  fix the bug \nmore"), Some("fix the bug".to_owned()));
        assert_eq!(title_of(" \n\t"), None);
        assert_eq!(title_of("Count. @demo [{\"text\":\"1\"}]"), Some("Count.".to_owned()));
        assert_eq!(title_of("@demo [{\"text\":\"1\"}]"), Some("A demonstration".to_owned()));
        let long = title_of(&"wörd ".repeat(60)).unwrap();
        assert!(long.chars().count() <= MAX_TITLE + 1 && long.ends_with('…'), "{long}");
        assert!(title_of(&"ä".repeat(500)).unwrap().chars().count() <= MAX_TITLE + 1);
        assert!(!title_of("a\u{7}b").unwrap().contains('\u{7}'));
    }
}
