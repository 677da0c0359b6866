//! What agents do that the protocol does not say, by the name that they give themselves in `initialize`. Measured with the versions that the tests install.

/// How one agent differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    /// The mode in which it asks before it acts, set at every start: what it starts in may be one that does not ask.
    pub asking_mode: Option<&'static str>,
    /// It answers requests that it does not know, which makes one a question whether it lives.
    pub answers_unknown: bool,
    /// The first title of a tool call is the tool's name.
    pub title_is_name: bool,
}

/// What holds for agents that are not in the table: nothing is taken for granted.
const UNKNOWN: Quirks = Quirks { asking_mode: None, answers_unknown: false, title_is_name: false };

/// Modes that ask, as agents call them; the first that is offered is taken where the table says none.
pub const ASKING_MODES: [&str; 4] = ["default", "ask", "manual", "approve"];

/// By what the name contains.
const TABLE: &[(&str, Quirks)] = &[
    // It starts in `auto`, where the model decides.
    ("claude", Quirks { asking_mode: Some("default"), answers_unknown: true, ..UNKNOWN }),
    // Whether it asks is in its configuration, not in its mode.
    ("opencode", Quirks { asking_mode: Some("build"), answers_unknown: true, title_is_name: true }),
    // `read-only` asks for whatever changes something, `agent` only for what leaves the workspace.
    ("codex", Quirks { asking_mode: Some("read-only"), answers_unknown: true, ..UNKNOWN }),
    ("gemini", Quirks { asking_mode: Some("default"), ..UNKNOWN }),
    ("goose", Quirks { asking_mode: Some("approve"), ..UNKNOWN }),
];

/// Those of the agent that calls itself `name`.
#[must_use]
pub fn of(name: &str) -> Quirks {
    let name = name.to_lowercase();
    TABLE.iter().find(|(part, _)| name.contains(part)).map_or(UNKNOWN, |(_, quirks)| *quirks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_known_by_the_names_that_they_give_themselves() {
        assert_eq!(of("@agentclientprotocol/claude-agent-acp").asking_mode, Some("default"));
        assert!(of("OpenCode").title_is_name);
        assert_eq!(of("codex-acp").asking_mode, Some("read-only"));
        assert_eq!(of("somebody's agent"), UNKNOWN);
    }
}
