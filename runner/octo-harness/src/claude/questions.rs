//! `AskUserQuestion`: one to a few questions with options, asked one after the other.

use octo_protocol::input::InputRequest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most questions of one call; Claude Code's own limit is four.
const MAX_QUESTIONS: usize = 16;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Question {
    question: String,
    options: Vec<Choice>,
    multi_select: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Choice {
    label: String,
    description: String,
}

impl Choice {
    fn shown(&self) -> String {
        match self.description.as_str() {
            "" => self.label.clone(),
            description => format!("{}: {description}", self.label),
        }
    }
}

/// The questions of one call, and the answers so far.
#[derive(Debug, Serialize, Deserialize)]
pub struct Questions {
    questions: Vec<Question>,
    answers: Vec<String>,
}

impl Questions {
    /// Reads the input of the call; `None` when there is nothing to ask.
    #[must_use]
    pub fn parse(input: &Value) -> Option<Self> {
        let listed = input["questions"].as_array()?;
        let questions: Vec<Question> =
            listed.iter().take(MAX_QUESTIONS).filter_map(|question| serde_json::from_value(question.clone()).ok()).collect();
        (!questions.is_empty() && questions.len() == listed.len()).then_some(Self { questions, answers: Vec::new() })
    }

    /// The question that is due, under an id of its own.
    #[must_use]
    pub fn request(&self, id: &str) -> InputRequest {
        let at = self.answers.len().min(self.questions.len().saturating_sub(1));
        let request_id = if at == 0 { id.to_owned() } else { format!("{id}.{at}") };
        let Some(question) = self.questions.get(at) else {
            return InputRequest::Input { request_id, title: String::new(), placeholder: None, timeout: None };
        };
        let shown: Vec<String> = question.options.iter().map(Choice::shown).collect();
        let title = question.question.clone();
        match (question.multi_select, shown.is_empty()) {
            (false, false) => InputRequest::Select { request_id, title, options: shown, timeout: None },
            (true, false) => {
                let title = format!("{title}\n{}", shown.join("\n"));
                let labels: Vec<&str> = question.options.iter().map(|choice| choice.label.as_str()).collect();
                let placeholder = Some(format!("one or more, with commas between: {}", labels.join(", ")));
                InputRequest::Input { request_id, title, placeholder, timeout: None }
            }
            (_, true) => InputRequest::Input { request_id, title, placeholder: None, timeout: None },
        }
    }

    /// Takes the answer to the question that is due. `true` when another one is due then.
    pub fn answered(&mut self, value: &str) -> bool {
        let question = self.questions.get(self.answers.len());
        let choice = question.and_then(|question| question.options.iter().find(|choice| choice.shown() == value));
        self.answers.push(choice.map_or(value, |choice| choice.label.as_str()).to_owned());
        self.answers.len() < self.questions.len()
    }

    /// The answers as Claude Code wants them: by the text of the question.
    #[must_use]
    pub fn answers(&self) -> Value {
        let pairs = self.questions.iter().zip(&self.answers);
        pairs.map(|(question, answer)| (question.question.clone(), Value::from(answer.as_str()))).collect::<Map<_, _>>().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn questions_are_asked_one_after_the_other_and_answered_together() {
        let input = json!({"questions": [
            {"question": "Which?", "options": [{"label": "Red", "description": "warm"}, {"label": "Blue"}]},
            {"question": "Several?", "multiSelect": true, "options": [{"label": "A", "description": "a"}, {"label": "B", "description": "b"}]},
            {"question": "Why?"},
        ]});
        let mut questions = Questions::parse(&input).unwrap();
        let first = serde_json::to_value(questions.request("q")).unwrap();
        assert_eq!(first, json!({"type": "select", "request_id": "q", "title": "Which?", "options": ["Red: warm", "Blue"]}));
        assert!(questions.answered("Red: warm"));
        let second = questions.request("q");
        assert!(matches!(&second, InputRequest::Input { request_id, title, .. } if request_id == "q.1" && title.contains("B: b")));
        assert!(questions.answered("A, B"));
        assert!(!questions.answered("because"));
        assert_eq!(questions.answers(), json!({"Which?": "Red", "Several?": "A, B", "Why?": "because"}));
    }

    #[test]
    fn what_asks_nothing_is_no_question() {
        for input in [json!({}), json!({"questions": []}), json!({"questions": [7]}), json!([1]), json!(null)] {
            assert!(Questions::parse(&input).is_none(), "{input}");
        }
    }
}
