//! What can be set of an agent: its model, how much it thinks, its mode, and whatever else it offers.
//!
//! ACP has two ways: options of the session (`configOptions`, each with a category) and, older, modes. Both are shown as options here.

use octo_protocol::ThinkingLevel;
use octo_protocol::model::Model;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most options that are kept, and most choices of one.
const MAX_OPTIONS: usize = 64;
const MAX_CHOICES: usize = 1024;
/// Category of the option that is the mode.
const MODE: &str = "mode";
const MODEL: &str = "model";
const THOUGHT: &str = "thought_level";

/// One value of a [`ConfigOption`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChoice {
    pub value: String,
    pub name: String,
}

/// Something that can be set of the agent, as the agent offers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigOption {
    pub id: String,
    /// What it is about: `mode`, `model`, `thought_level`, or a word of the agent's.
    pub category: Option<String>,
    /// The value that it has, and those that it can have.
    pub value: String,
    pub choices: Vec<ConfigChoice>,
}

/// A setting that octo asks the agent for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The option's id, and the value.
    pub option: String,
    pub value: String,
}

/// How a wish goes to the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub method: String,
    pub params: Value,
    pub wish: Wish,
}

/// What has become another by a new list of options.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changed {
    pub model: Option<String>,
    pub thinking: Option<ThinkingLevel>,
    /// The mode, and it was not octo's wish.
    pub mode: Option<String>,
}

/// The options of a session.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    options: Vec<ConfigOption>,
    /// The mode is changed by `session/set_mode`.
    by_mode: bool,
    /// What octo asked for last, by option.
    wished: Vec<Wish>,
}

fn level(word: &str) -> Option<ThinkingLevel> {
    Some(match word.to_ascii_lowercase().as_str() {
        "off" | "none" => ThinkingLevel::Off,
        "minimal" => ThinkingLevel::Minimal,
        "low" => ThinkingLevel::Low,
        "medium" => ThinkingLevel::Medium,
        "high" => ThinkingLevel::High,
        "xhigh" | "max" => ThinkingLevel::Xhigh,
        _ => return None,
    })
}

impl Settings {
    /// As clients see them.
    #[must_use]
    pub fn options(&self) -> &[ConfigOption] {
        &self.options
    }

    fn of(&self, category: &str) -> Option<&ConfigOption> {
        // Some agents give no category, but the option the name of one.
        let by_category = self.options.iter().find(|option| option.category.as_deref() == Some(category));
        by_category.or_else(|| self.options.iter().find(|option| option.category.is_none() && option.id == category))
    }

    /// The model, and how much it thinks, and its mode, as far as they are options.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.of(MODEL).map(|option| option.value.as_str())
    }

    /// How much it thinks, where that is an option that octo has a word for.
    #[must_use]
    pub fn thinking(&self) -> Option<ThinkingLevel> {
        level(&self.of(THOUGHT)?.value)
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> Option<&str> {
        self.of(MODE).map(|option| option.value.as_str())
    }

    /// Takes the options as they are now; `modes`: the mode and all modes, where there is no option for it.
    pub fn take(&mut self, mut options: Vec<ConfigOption>, modes: Option<(String, Vec<String>)>) -> Changed {
        options.truncate(MAX_OPTIONS);
        options.iter_mut().for_each(|option| option.choices.truncate(MAX_CHOICES));
        let has_mode = options.iter().any(|option| option.category.as_deref() == Some(MODE) || option.id == MODE);
        if let Some((value, all)) = modes {
            self.by_mode = true;
            if !has_mode {
                let choice = |value: String| ConfigChoice { name: value.clone(), value };
                options.push(ConfigOption {
                    id: MODE.to_owned(),
                    category: Some(MODE.to_owned()),
                    value,
                    choices: all.into_iter().take(MAX_CHOICES).map(choice).collect(),
                });
            }
        } else if self.by_mode
            && !has_mode
            && let Some(mode) = self.of(MODE)
        {
            options.push(mode.clone());
        }
        let before = std::mem::replace(&mut self.options, options);
        self.changed(&before)
    }

    fn changed(&mut self, before: &[ConfigOption]) -> Changed {
        let of = |category: &str| {
            let now = self.of(category)?;
            let was = before.iter().find(|option| option.id == now.id)?;
            (was.value != now.value).then(|| now.value.clone())
        };
        let (model, thinking, mode) = (of(MODEL), of(THOUGHT), of(MODE));
        let wished = |value: &String| {
            self.wished.iter().any(|wish| self.of(MODE).is_some_and(|mode| mode.id == wish.option) && wish.value == *value)
        };
        Changed { model, thinking: thinking.as_deref().and_then(level), mode: mode.filter(|value| !wished(value)) }
    }

    /// One option has another value.
    pub fn set(&mut self, id: &str, value: &str) -> Changed {
        let before = self.options.clone();
        if let Some(option) = self.options.iter_mut().find(|option| option.id == id) {
            value.clone_into(&mut option.value);
        }
        self.changed(&before)
    }

    /// The mode is another one.
    pub fn set_mode(&mut self, value: &str) -> Changed {
        match self.of(MODE).map(|mode| mode.id.clone()) {
            Some(id) => self.set(&id, value),
            None => Changed::default(),
        }
    }

    /// The request that brings a wish about.
    fn request(&mut self, session: &str, option: &ConfigOption, value: &str) -> Request {
        let wish = Wish { option: option.id.clone(), value: value.to_owned() };
        self.wished.retain(|earlier| earlier.option != wish.option);
        self.wished.push(wish.clone());
        if self.by_mode && option.category.as_deref() == Some(MODE) {
            return Request { method: "session/set_mode".to_owned(), params: json!({"sessionId": session, "modeId": value}), wish };
        }
        let is_boolean = option.choices.len() == 2 && option.choices.iter().all(|choice| matches!(choice.value.as_str(), "true" | "false"));
        let mut params = json!({"sessionId": session, "configId": option.id, "value": value});
        if is_boolean {
            params["type"] = "boolean".into();
            params["value"] = (value == "true").into();
        }
        Request { method: "session/set_config_option".to_owned(), params, wish }
    }

    /// Asks for a model; `None` when none is offered by that name.
    pub fn ask_model(&mut self, session: &str, provider: &str, model: &str) -> Option<Request> {
        let option = self.of(MODEL)?.clone();
        let whole = format!("{provider}/{model}");
        let value =
            [whole.as_str(), model].into_iter().find(|value| option.choices.iter().any(|choice| choice.value == *value))?.to_owned();
        Some(self.request(session, &option, &value))
    }

    /// Asks for a level of thinking; `None` when it has no such option or level.
    pub fn ask_thinking(&mut self, session: &str, wanted: ThinkingLevel) -> Option<Request> {
        let option = self.of(THOUGHT)?.clone();
        let value = option.choices.iter().find(|choice| level(&choice.value) == Some(wanted))?.value.clone();
        Some(self.request(session, &option, &value))
    }

    /// The levels of thinking that there are.
    #[must_use]
    pub fn levels(&self) -> Vec<ThinkingLevel> {
        self.of(THOUGHT).into_iter().flat_map(|option| &option.choices).filter_map(|choice| level(&choice.value)).collect()
    }

    /// Asks for the first of these modes that there is.
    pub fn ask_mode(&mut self, session: &str, wanted: &[&str]) -> Option<Request> {
        let option = self.of(MODE)?.clone();
        let value = wanted.iter().find(|mode| option.choices.iter().any(|choice| choice.value == **mode))?;
        Some(self.request(session, &option, value))
    }

    /// The models that are offered; one whose name names no provider is `provider`'s.
    #[must_use]
    pub fn models(&self, provider: &str) -> Vec<Model> {
        let Some(option) = self.of(MODEL) else { return Vec::new() };
        option.choices.iter().map(|choice| model_of(&choice.value, &choice.name, provider)).collect()
    }
}

/// The two halves of a model's name.
#[must_use]
pub fn halves<'a>(value: &'a str, provider: &'a str) -> (&'a str, &'a str) {
    value.split_once('/').filter(|(first, rest)| !first.is_empty() && !rest.is_empty()).unwrap_or((provider, value))
}

/// A model by its value, as the agent offers it.
#[must_use]
pub fn model_of(value: &str, name: &str, provider: &str) -> Model {
    let (provider, id) = halves(value, provider);
    Model {
        id: id.to_owned(),
        name: name.to_owned(),
        api: String::new(),
        provider: provider.to_owned(),
        reasoning: false,
        input: vec!["text".to_owned()],
        context_window: 0,
        max_tokens: 0,
        cost: None,
    }
}
