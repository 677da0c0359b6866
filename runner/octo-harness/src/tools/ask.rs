//! `ask`: a question to the person.

use super::{Definition, Refusal, refused};
use octo_protocol::input::InputRequest;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeSet;

/// Its name.
pub const NAME: &str = "ask";
/// Most characters of a question.
const MAX_QUESTION: usize = 4000;
/// Most characters of an option.
const MAX_OPTION: usize = 200;
/// Most options.
const MAX_OPTIONS: usize = 20;

/// Its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub question: String,
    #[serde(default)]
    pub options: Vec<String>,
}

pub(super) fn definition() -> Definition {
    Definition {
        name: NAME,
        description: "Asks the person who works with you a question and waits for the answer, which may take long or never come. Use it when only they can \
                      decide; what you can find out yourself, find out. With options they choose one of them, without they write.",
        schema: json!({
            "type": "object",
            "properties": {
                "question": {"type": "string", "minLength": 1, "maxLength": MAX_QUESTION, "description": "The question, in the person's language."},
                "options": {
                    "type": "array",
                    "maxItems": MAX_OPTIONS,
                    "uniqueItems": true,
                    "items": {"type": "string", "minLength": 1, "maxLength": MAX_OPTION},
                    "description": "Answers to choose from.",
                },
            },
            "required": ["question"],
            "additionalProperties": false,
        }),
    }
}

impl Ask {
    pub(super) fn checked(self) -> Result<Self, Refusal> {
        let question = self.question.trim().to_owned();
        let options: Vec<String> = self.options.iter().map(|option| option.trim().to_owned()).collect();
        let is_long = |text: &str, most: usize| text.chars().nth(most).is_some();
        let unlike = options.iter().collect::<BTreeSet<_>>().len() == options.len();
        if question.is_empty() || options.iter().any(String::is_empty) {
            Err(refused(NAME, "the question or an option is empty"))
        } else if is_long(&question, MAX_QUESTION) {
            Err(refused(NAME, format!("the question has more than {MAX_QUESTION} characters")))
        } else if options.len() > MAX_OPTIONS || options.iter().any(|option| is_long(option, MAX_OPTION)) {
            Err(refused(NAME, format!("there may be {MAX_OPTIONS} options of {MAX_OPTION} characters each")))
        } else if !unlike {
            Err(refused(NAME, "two options are the same"))
        } else {
            Ok(Self { question, options })
        }
    }

    /// The question as a person gets it.
    #[must_use]
    pub fn request(&self, request_id: &str) -> InputRequest {
        let (request_id, title) = (request_id.to_owned(), self.question.clone());
        match self.options.is_empty() {
            true => InputRequest::Input { request_id, title, placeholder: None, timeout: None },
            false => InputRequest::Select { request_id, title, options: self.options.clone(), timeout: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(question: &str, options: &[&str]) -> Result<Ask, Refusal> {
        Ask { question: question.to_owned(), options: options.iter().map(|option| (*option).to_owned()).collect() }.checked()
    }

    #[test]
    fn a_question_with_options_is_a_choice_and_one_without_is_written() {
        let asked = ask(" Which? ", &["red", " blue "]).map(|asked| asked.request("r"));
        let expected = InputRequest::Select {
            request_id: "r".into(),
            title: "Which?".into(),
            options: vec!["red".into(), "blue".into()],
            timeout: None,
        };
        assert_eq!(asked, Ok(expected));
        assert!(matches!(ask("Why?", &[]).map(|asked| asked.request("r")), Ok(InputRequest::Input { .. })));
    }

    #[test]
    fn what_nobody_could_answer_is_refused() {
        for (question, options) in [(" ", &[][..]), ("a?", &["x", ""]), ("a?", &["x", "x "]), (&"?".repeat(MAX_QUESTION + 1), &[])] {
            assert!(ask(question, options).is_err(), "{options:?}");
        }
        let many: Vec<String> = (0..=MAX_OPTIONS).map(|n| n.to_string()).collect();
        assert!(ask("a?", &many.iter().map(String::as_str).collect::<Vec<_>>()).is_err());
    }
}
