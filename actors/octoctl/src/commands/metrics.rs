//! `octoctl metrics`

use serde_json::{Map, Value, json};

use super::Asking;
use crate::exit::{Exit, Failure};

pub async fn run(Asking { client, output }: &Asking, only: Option<&str>) -> Result<(), Failure> {
    let text = client.metrics().await?;
    let mut lines = text.lines().filter(|line| only.is_none_or(|only| name_of(line).starts_with(only))).peekable();
    if let Some(only) = only.filter(|_| lines.peek().is_none()) {
        return Err(Failure::new(Exit::NotFound, format!("no metric begins with {only:?}; docs/metrics.md lists them")));
    }
    for line in lines {
        let reads = if output.is_json() { sample(line).is_none_or(|sample| output.say("", &sample)) } else { output.line(line) };
        if !reads {
            break;
        }
    }
    Ok(())
}

/// Of which metric a line is.
fn name_of(line: &str) -> &str {
    let line = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
    line.split([' ', '{']).next().unwrap_or_default()
}

/// A line of the text as an object; `None` for a description.
fn sample(line: &str) -> Option<Value> {
    if line.starts_with('#') {
        return None;
    }
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = head.split_once('{').map_or((head, ""), |(name, rest)| (name, rest.strip_suffix('}').unwrap_or(rest)));
    // Infinity is no JSON.
    let number = value.parse::<f64>().ok().filter(|number| number.is_finite()).map_or_else(|| json!(value), |number| json!(number));
    Some(json!({ "name": name, "labels": pairs(labels), "value": number }))
}

/// `name="value"` with commas between; a value has `\\`, `\"` and `\n` escaped.
fn pairs(text: &str) -> Map<String, Value> {
    let (mut all, mut rest) = (Map::new(), text);
    while let Some((name, after)) = rest.split_once("=\"") {
        let (mut value, mut characters) = (String::new(), after.char_indices());
        let mut end = after.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| if escaped == 'n' { '\n' } else { escaped })),
                other => value.push(other),
            }
        }
        all.insert(name.trim_start_matches(',').to_owned(), value.into());
        rest = after.get(end..).unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_becomes_an_object_whatever_its_labels_hold() {
        let line = r#"octo_x_total{user="a,\"b\\",kind="k=1"} 2.5"#;
        assert_eq!(sample(line).unwrap(), json!({ "name": "octo_x_total", "labels": { "user": "a,\"b\\", "kind": "k=1" }, "value": 2.5 }));
        assert_eq!(sample("octo_y 3").unwrap(), json!({ "name": "octo_y", "labels": {}, "value": 3.0 }));
        assert_eq!(sample("# TYPE octo_y gauge"), None);
        assert_eq!((name_of(line), name_of("# HELP octo_y It is."), name_of("octo_y 3")), ("octo_x_total", "octo_y", "octo_y"));
    }
}
