//! `title`: what the session is called.

use super::{Definition, Refusal, refused};
use serde::Deserialize;
use serde_json::json;

/// Its name.
pub const NAME: &str = "title";
/// Most characters of a title.
const MAX_TITLE: usize = 200;

/// Its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Title {
    pub title: String,
}

pub(super) fn definition() -> Definition {
    Definition {
        name: NAME,
        description: "Gives this session a title, which people see in the list of their sessions. Use it once you know what the work is about, and again \
                      when that changes: a few words, no full stop. A title that a person has given stays.",
        schema: json!({
            "type": "object",
            "properties": {"title": {"type": "string", "minLength": 1, "maxLength": MAX_TITLE, "description": "The title, in the person's language."}},
            "required": ["title"],
            "additionalProperties": false,
        }),
    }
}

impl Title {
    pub(super) fn checked(self) -> Result<Self, Refusal> {
        let title: String = self.title.split_whitespace().collect::<Vec<_>>().join(" ");
        match title.chars().count() {
            0 => Err(refused(NAME, "the title is empty")),
            1..=MAX_TITLE => Ok(Self { title }),
            count => Err(refused(NAME, format!("the title has {count} characters, more than {MAX_TITLE}"))),
        }
    }

    /// What the model is told.
    #[must_use]
    pub fn done(&self) -> String {
        format!("The session is called {:?} now, unless a person has named it.", self.title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_that_is_not_empty_and_not_long() {
        let checked = |title: &str| Title { title: title.to_owned() }.checked().map(|title| title.title);
        assert_eq!(checked(" Fix\n the  build "), Ok("Fix the build".to_owned()));
        assert!(checked(" \n").is_err());
        assert!(checked(&"é".repeat(MAX_TITLE)).is_ok() && checked(&"é".repeat(MAX_TITLE + 1)).is_err());
    }
}
