//! Changes to an input that keep it JSON, so that a fuzzer gets beyond the commas: members that come, go, move and take each other's values, and
//! whole lines that other lines of the same kind stand for.
//!
//! The engine's own changes to bytes are the other half; which one is taken is the engine's to say.

use serde_json::{Map, Value};

/// Largest JSON value that is changed, in nodes.
const MAX_NODES: usize = 4096;

/// Numbers that look like chance, from one seed.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one (splitmix64).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `many`.
    pub fn below(&mut self, many: usize) -> usize {
        (self.number() % many.max(1) as u64) as usize
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        if list.is_empty() { None } else { list.get(self.below(list.len())) }
    }
}

/// What an input may be made of.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Whole lines.
    pub lines: &'static [&'static str],
    /// Names of members.
    pub names: &'static [&'static str],
    /// JSON values.
    pub values: &'static [&'static str],
}

/// Changes lines of an input; at most `most` bytes come back.
#[must_use]
pub fn lines(input: &[u8], most: usize, words: &Words, chance: &mut Chance) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..=chance.below(3) {
        change_lines(&mut lines, words, chance);
    }
    let mut output = lines.join(&b'\n');
    output.truncate(most);
    output
}

fn change_lines(lines: &mut Vec<Vec<u8>>, words: &Words, chance: &mut Chance) {
    let at = chance.below(lines.len());
    match chance.below(10) {
        0 if lines.len() > 1 => drop(lines.remove(at)),
        1 => {
            let line = lines.get(at).cloned().unwrap_or_default();
            lines.insert(chance.below(lines.len() + 1), line);
        }
        2 if lines.len() > 1 => {
            let other = chance.below(lines.len());
            lines.swap(at, other);
        }
        3 | 4 => {
            if let Some(line) = chance.pick(words.lines) {
                lines.insert(chance.below(lines.len() + 1), line.as_bytes().to_vec());
            }
        }
        5 => {
            // What one line says, another one says too: ids that meet.
            let donor = lines.get(chance.below(lines.len())).and_then(|line| value_of(line).map(|(_, value)| value));
            if let (Some(line), Some(donor)) = (lines.get_mut(at), donor) {
                change_json(line, chance, |value, chance| take_from(value, &donor, chance));
            }
        }
        _ => {
            if let Some(line) = lines.get_mut(at) {
                change_json(line, chance, |value, chance| change(value, words, chance));
            }
        }
    }
}

/// Where the JSON of a line begins, and what it is.
fn value_of(line: &[u8]) -> Option<(usize, Value)> {
    let start = line.iter().position(|byte| matches!(byte, b'{' | b'['))?;
    serde_json::from_slice(&line[start..]).ok().map(|value| (start, value))
}

fn change_json(line: &mut Vec<u8>, chance: &mut Chance, change: impl FnOnce(&mut Value, &mut Chance)) {
    let Some((start, mut value)) = value_of(line) else { return };
    change(&mut value, chance);
    line.truncate(start);
    line.extend_from_slice(value.to_string().as_bytes());
}

/// Changes a JSON value somewhere inside.
pub fn change(value: &mut Value, words: &Words, chance: &mut Chance) {
    let strings = strings_of(value);
    let at = chance.below(count(value).min(MAX_NODES));
    let Some(node) = node(value, at) else { return };
    match (chance.below(8), &mut *node) {
        (0 | 1, Value::Object(map)) => {
            if let Some(name) = chance.pick(words.names) {
                map.insert((*name).to_owned(), some_value(words, &strings, chance));
            }
        }
        (2, Value::Object(map)) => {
            let name = map.keys().nth(chance.below(map.len())).cloned();
            name.map(|name| map.remove(&name));
        }
        (3, Value::Object(map)) => rename(map, words, chance),
        (0 | 1, Value::Array(list)) => {
            let place = chance.below(list.len() + 1);
            let item = list.get(chance.below(list.len())).cloned().unwrap_or_else(|| some_value(words, &strings, chance));
            list.insert(place, item);
        }
        (2, Value::Array(list)) if !list.is_empty() => drop(list.remove(chance.below(list.len()))),
        (0..4, Value::String(text)) => change_text(text, &strings, chance),
        _ => *node = some_value(words, &strings, chance),
    }
}

fn rename(map: &mut Map<String, Value>, words: &Words, chance: &mut Chance) {
    let name = map.keys().nth(chance.below(map.len())).cloned();
    if let (Some(old), Some(new)) = (name, chance.pick(words.names))
        && let Some(value) = map.remove(&old)
    {
        map.insert((*new).to_owned(), value);
    }
}

fn change_text(text: &mut String, strings: &[String], chance: &mut Chance) {
    match chance.below(6) {
        0 => text.clear(),
        1 => text.push_str(["\u{0}", "\u{2028}", "\u{feff}", "é\u{301}", "\u{1f600}", "/", " ", "\"", "\\"][chance.below(9)]),
        2 => *text = text.repeat(1 + chance.below(8)),
        3 => {
            let cut = text.char_indices().nth(chance.below(text.len().max(1))).map_or(0, |(at, _)| at);
            text.truncate(cut);
        }
        _ => {
            if let Some(other) = chance.pick(strings) {
                text.clone_from(other);
            }
        }
    }
}

fn some_value(words: &Words, strings: &[String], chance: &mut Chance) -> Value {
    const NUMBERS: [f64; 8] = [0.0, -1.0, 0.1, 1e300, -1e300, 9_007_199_254_740_993.0, 4_294_967_296.0, 5e-324];
    match chance.below(9) {
        0 => Value::Null,
        1 => Value::Bool(chance.below(2) == 0),
        2 => Value::from(chance.below(5)),
        3 => Value::from(NUMBERS[chance.below(NUMBERS.len())]),
        4 => Value::from([u64::MAX, u64::MAX >> 1, 1 << 53, 1 << 32, 1 << 31][chance.below(5)]),
        5 => chance.pick(strings).cloned().map_or(Value::Null, Value::from),
        _ => chance.pick(words.values).and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null),
    }
}

/// Puts a member of `donor` into `value`.
fn take_from(value: &mut Value, donor: &Value, chance: &mut Chance) {
    let at = chance.below(count(value).min(MAX_NODES));
    let mut donor = donor.clone();
    let from = chance.below(count(&donor).min(MAX_NODES));
    if let (Some(into), Some(from)) = (node(value, at), node(&mut donor, from)) {
        *into = from.clone();
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The node with this number, counted from the root.
fn node(value: &mut Value, at: usize) -> Option<&mut Value> {
    fn walk<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
        if *left == 0 {
            return Some(value);
        }
        *left -= 1;
        match value {
            Value::Array(list) => list.iter_mut().find_map(|inner| walk(inner, left)),
            Value::Object(map) => map.values_mut().find_map(|inner| walk(inner, left)),
            _ => None,
        }
    }
    let mut left = at;
    walk(value, &mut left)
}

fn strings_of(value: &Value) -> Vec<String> {
    fn walk(value: &Value, strings: &mut Vec<String>) {
        match value {
            Value::String(text) if strings.len() < 64 => strings.push(text.clone()),
            Value::Array(list) => list.iter().for_each(|inner| walk(inner, strings)),
            Value::Object(map) => map.values().for_each(|inner| walk(inner, strings)),
            _ => {}
        }
    }
    let mut strings = Vec::new();
    walk(value, &mut strings);
    strings
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words = Words { lines: &["{\"a\":1}"], names: &["a", "b"], values: &["[1]", "\"x\""] };

    #[test]
    fn changed_json_stays_json_and_within_its_bounds() {
        let input = b"!c {\"cmd\":\"abort\"}\n{\"type\":\"message_end\",\"message\":{\"content\":[{\"id\":\"x\"}]}}\nrubbish";
        let mut different = 0;
        for seed in 0..2000 {
            let mut chance = Chance::new(seed);
            let output = lines(input, 4096, &WORDS, &mut chance);
            different += usize::from(output != input);
            for line in output.split(|byte| *byte == b'\n').filter(|line| line.contains(&b'{')) {
                assert!(value_of(line).is_some(), "seed {seed}: {}", String::from_utf8_lossy(line));
            }
            assert!(lines(input, 10, &WORDS, &mut chance).len() <= 10);
        }
        assert!(different > 1500, "{different} of 2000 seeds change something");
    }
}
