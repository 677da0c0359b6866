//! What of a session can be chosen: its agent, model, thinking level and permissions, as config options and modes of ACP.

use super::rpc::{INVALID_PARAMS, RpcError, quoted};
use octo_protocol::session::SessionState;
use octo_protocol::{Command, Model, PermissionMode, ThinkingLevel};
use serde_json::{Value, json};

/// Most models that are listed in an option.
const MAX_MODELS: usize = 500;
/// The mode of a session that has no word of its own about permissions.
const AS_CONFIGURED: &str = "configured";

const LEVELS: [ThinkingLevel; 6] =
    [ThinkingLevel::Off, ThinkingLevel::Minimal, ThinkingLevel::Low, ThinkingLevel::Medium, ThinkingLevel::High, ThinkingLevel::Xhigh];
const MODES: [(PermissionMode, &str, &str); 3] = [
    (PermissionMode::Ask, "Ask", "Ask before a tool runs"),
    (PermissionMode::Allow, "Allow", "Let tools run without a question"),
    (PermissionMode::Deny, "Deny", "Let no tool run"),
];

/// What is chosen in a session, and what there is to choose from.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    pub harness: String,
    pub capabilities: Vec<String>,
    pub models: Vec<Model>,
    /// Provider and id.
    pub model: Option<(String, String)>,
    pub thinking: ThinkingLevel,
    pub permissions: Option<PermissionMode>,
}

impl Choices {
    /// As a session's state says.
    pub fn state(&mut self, state: &SessionState) {
        self.model = state.model.as_ref().map(|model| (model.provider.clone(), model.id.clone()));
        self.thinking = state.thinking_level;
        self.permissions = state.permissions;
        // Before the list has come, there is at least this one.
        if let Some(model) = state.model.as_ref().filter(|model| self.find(&model.provider, &model.id).is_none()) {
            self.models.push(model.clone());
        }
    }

    fn find(&self, provider: &str, id: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.provider == provider && model.id == id)
    }

    fn can(&self, command: &str) -> bool {
        self.capabilities.iter().any(|capability| capability == command)
    }

    /// The context window of the session's model; 0 when it is not known.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.model.as_ref().and_then(|(provider, id)| self.find(provider, id)).map_or(0, |model| model.context_window)
    }

    /// The options, with the value of each.
    #[must_use]
    pub fn options(&self) -> Vec<Value> {
        let select = |id: &str, name: &str, category: Option<&str>, current: &str, options: Vec<Value>| json!({ "id": id, "name": name, "category": category, "type": "select", "currentValue": current, "options": options });
        let choice = |value: &str, name: &str| json!({ "value": value, "name": name });
        let mut options = Vec::new();
        if self.can("permissions") {
            let modes = self
                .modes()
                .into_iter()
                .map(|mode| json!({ "value": mode["id"], "name": mode["name"], "description": mode["description"] }));
            options.push(select("permissions", "Permissions", Some("mode"), self.mode(), modes.collect()));
        }
        if let Some((provider, id)) = self.model.as_ref().filter(|_| self.can("set_model")) {
            let listed = self.models.iter().take(MAX_MODELS);
            let mut models: Vec<Value> = listed.map(|model| choice(&format!("{}/{}", model.provider, model.id), &model.name)).collect();
            let current = format!("{provider}/{id}");
            if !models.iter().any(|model| model["value"] == current.as_str()) {
                models.push(choice(&current, id));
            }
            options.push(select("model", "Model", Some("model"), &current, models));
        }
        if self.can("set_thinking_level") {
            let levels = LEVELS.iter().map(|level| choice(level.as_str(), level.as_str())).collect();
            options.push(select("thinking_level", "Thinking", Some("thought_level"), self.thinking.as_str(), levels));
        }
        // It has the agent that it was made with; shown, so that a person sees which one answers.
        options.push(select("harness", "Agent", Some("_octo_harness"), &self.harness, vec![choice(&self.harness, &self.harness)]));
        options
    }

    /// The same choice of permissions as modes, for clients that know no options.
    #[must_use]
    pub fn mode_state(&self) -> Option<Value> {
        self.can("permissions").then(|| json!({ "currentModeId": self.mode(), "availableModes": self.modes() }))
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        self.permissions.map_or(AS_CONFIGURED, PermissionMode::as_str)
    }

    fn modes(&self) -> Vec<Value> {
        let configured = || json!({ "id": AS_CONFIGURED, "name": "As configured", "description": "What this octo's configuration says" });
        let first = self.permissions.is_none().then(configured);
        let all = MODES.iter().map(|(mode, name, description)| json!({ "id": mode.as_str(), "name": name, "description": description }));
        first.into_iter().chain(all).collect()
    }

    /// The command that gives option `id` this value; `None` when it has it already.
    ///
    /// # Errors
    /// What is wrong with the option or the value.
    pub fn set(&self, id: &str, value: &str) -> Result<Option<Command>, RpcError> {
        let refuse = |message: String| Err(RpcError::new(INVALID_PARAMS, message));
        let options = self.options();
        let Some(option) = options.iter().find(|option| option["id"] == id) else {
            let known: Vec<&str> = options.iter().filter_map(|option| option["id"].as_str()).collect();
            return refuse(format!("this session has no option {:?}; it has: {}", quoted(id), known.join(", ")));
        };
        if option["currentValue"] == value {
            return Ok(None);
        }
        match id {
            "permissions" => match value.parse() {
                Ok(mode) => Ok(Some(Command::SetPermissions { mode })),
                Err(error) => refuse(error),
            },
            "model" => match self.models.iter().find(|model| format!("{}/{}", model.provider, model.id) == value) {
                Some(model) => Ok(Some(Command::SetModel { provider: model.provider.clone(), model_id: model.id.clone() })),
                None => refuse(format!("there is no model {:?}; the option lists those that there are", quoted(value))),
            },
            "thinking_level" => match LEVELS.iter().find(|level| level.as_str() == value) {
                Some(level) => Ok(Some(Command::SetThinkingLevel { level: *level })),
                None => {
                    refuse(format!("there is no thinking level {:?}; there are: off, minimal, low, medium, high, xhigh", quoted(value)))
                }
            },
            _ => refuse(format!(
                "a session keeps the agent that it was made with ({}); begin a new one with _meta.octo.harness, or `octo acp --harness`",
                self.harness
            )),
        }
    }

    /// What a command that succeeded has changed.
    pub fn done(&mut self, command: &Command) {
        match command {
            Command::SetPermissions { mode } => self.permissions = Some(*mode),
            Command::SetModel { provider, model_id } => self.model = Some((provider.clone(), model_id.clone())),
            Command::SetThinkingLevel { level } => self.thinking = *level,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn choices() -> Choices {
        let model = |id: &str| Model {
            id: id.to_owned(),
            name: id.to_uppercase(),
            api: "x".to_owned(),
            provider: "demo".to_owned(),
            reasoning: true,
            input: Vec::new(),
            context_window: 7,
            max_tokens: 7,
            cost: None,
        };
        Choices {
            harness: "pi".to_owned(),
            capabilities: ["permissions", "set_model", "set_thinking_level"].map(str::to_owned).to_vec(),
            models: vec![model("a"), model("b/c")],
            model: Some(("demo".to_owned(), "a".to_owned())),
            thinking: ThinkingLevel::Off,
            permissions: None,
        }
    }

    #[test]
    fn an_option_is_set_by_the_command_that_octo_has_for_it() {
        let choices = choices();
        assert_eq!(choices.set("model", "demo/a").unwrap(), None);
        let model = Command::SetModel { provider: "demo".to_owned(), model_id: "b/c".to_owned() };
        assert_eq!(choices.set("model", "demo/b/c").unwrap(), Some(model));
        assert_eq!(choices.set("permissions", "ask").unwrap(), Some(Command::SetPermissions { mode: PermissionMode::Ask }));
        assert_eq!(choices.set("thinking_level", "high").unwrap(), Some(Command::SetThinkingLevel { level: ThinkingLevel::High }));
        for (id, value, word) in [
            ("colour", "red", "no option"),
            ("model", "x/y", "no model"),
            ("thinking_level", "deep", "no thinking"),
            ("harness", "claude", "keeps"),
        ] {
            assert!(choices.set(id, value).unwrap_err().message.contains(word), "{id}");
        }
        assert_eq!((choices.window(), choices.mode()), (7, "configured"));
    }

    #[test]
    fn what_an_agent_cannot_do_is_no_option() {
        let choices = Choices { capabilities: Vec::new(), ..choices() };
        assert_eq!(choices.options().len(), 1);
        assert!(choices.mode_state().is_none());
    }
}
