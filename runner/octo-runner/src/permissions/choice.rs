//! What a person who is asked may answer.

use super::Asked;
use octo_protocol::input::{PermissionKind, PermissionOption};
use octo_protocol::permission::NewPermissionRule;
use octo_protocol::{ErrorCode, InputAnswer, PermissionMode, ProtocolError};

/// How long the rule of [`Choice::AllowForAnHour`] holds, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Most characters of a subject in an option's label.
const SHOWN: usize = 60;

/// An answer, with what octo is to remember of it. Rules made here hold for the session's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    AllowOnce,
    /// This very command or path, always.
    AllowThis,
    AllowForAnHour,
    /// The tool, always.
    AllowTool,
    DenyOnce,
    /// The tool, always.
    DenyTool,
}

impl Choice {
    const ALL: [Self; 6] = [Self::AllowOnce, Self::AllowThis, Self::AllowForAnHour, Self::AllowTool, Self::DenyOnce, Self::DenyTool];

    fn id(self) -> &'static str {
        match self {
            Self::AllowOnce => "allow_once",
            Self::AllowThis => "allow_this",
            Self::AllowForAnHour => "allow_hour",
            Self::AllowTool => "allow_tool",
            Self::DenyOnce => "deny_once",
            Self::DenyTool => "deny_tool",
        }
    }

    fn kind(self) -> PermissionKind {
        match self {
            Self::AllowOnce => PermissionKind::AllowOnce,
            Self::AllowThis | Self::AllowForAnHour | Self::AllowTool => PermissionKind::AllowAlways,
            Self::DenyOnce => PermissionKind::DenyOnce,
            Self::DenyTool => PermissionKind::DenyAlways,
        }
    }

    fn label(self, asked: &Asked) -> String {
        let tool = &asked.tool;
        match self {
            Self::AllowOnce => "Allow once".to_owned(),
            Self::AllowThis => {
                let subject = asked.subject.as_deref().unwrap_or_default();
                let mut shown: String = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
                if subject.chars().count() > SHOWN {
                    shown.push('…');
                }
                format!("Always allow “{shown}” in this folder")
            }
            Self::AllowForAnHour => format!("Allow {tool} in this folder for an hour"),
            Self::AllowTool => format!("Always allow {tool} in this folder"),
            Self::DenyOnce => "Deny".to_owned(),
            Self::DenyTool => format!("Always deny {tool} in this folder"),
        }
    }

    fn is_offered(self, asked: &Asked) -> bool {
        self != Self::AllowThis || asked.is_whole
    }

    /// What is offered to whoever is asked for `asked`. `None`: what the harness itself offers, since only a person can answer and nothing is remembered.
    #[must_use]
    pub fn options(asked: &Asked) -> Option<Vec<PermissionOption>> {
        let option = |choice: Self| PermissionOption { option_id: choice.id().to_owned(), label: choice.label(asked), kind: choice.kind() };
        (!asked.needs_person).then(|| Self::ALL.into_iter().filter(|choice| choice.is_offered(asked)).map(option).collect())
    }

    fn of_kind(kind: PermissionKind) -> Self {
        match kind {
            PermissionKind::AllowOnce => Self::AllowOnce,
            PermissionKind::AllowAlways => Self::AllowTool,
            PermissionKind::DenyOnce => Self::DenyOnce,
            PermissionKind::DenyAlways => Self::DenyTool,
        }
    }

    /// What a person's answer to `asked` comes to. The harness's own options are taken too, as what their kind says: a client may know its agent.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidRequest`] when it is no answer to a permission.
    pub fn of(answer: &InputAnswer, asked: &Asked) -> Result<Self, ProtocolError> {
        if answer.cancelled == Some(true) {
            return Ok(Self::DenyOnce);
        }
        let missing =
            |what: &str| ProtocolError::new(ErrorCode::InvalidRequest, format!("the answer to question {} needs {what}", asked.request_id));
        match (&answer.option_id, answer.confirmed) {
            (Some(id), _) => Self::ALL
                .into_iter()
                .find(|choice| choice.id() == id && choice.is_offered(asked))
                .or_else(|| asked.options.iter().find(|option| option.option_id == *id).map(|option| Self::of_kind(option.kind)))
                .ok_or_else(|| missing(&format!("one of the options that were offered, not {id:?}"))),
            (None, Some(true)) => Ok(Self::AllowOnce),
            (None, Some(false)) => Ok(Self::DenyOnce),
            (None, None) => Err(missing("`option_id`, `confirmed` or `cancelled`")),
        }
    }

    /// The call may run.
    #[must_use]
    pub fn allows(self) -> bool {
        matches!(self.kind(), PermissionKind::AllowOnce | PermissionKind::AllowAlways)
    }

    /// What is to be remembered.
    #[must_use]
    pub fn rule(self, asked: &Asked, workspace: &str) -> Option<NewPermissionRule> {
        let (mode, subject, expires_in_ms) = match self {
            Self::AllowOnce | Self::DenyOnce => return None,
            Self::AllowThis => (PermissionMode::Allow, asked.subject.clone(), None),
            Self::AllowForAnHour => (PermissionMode::Allow, None, Some(HOUR_MS)),
            Self::AllowTool => (PermissionMode::Allow, None, None),
            Self::DenyTool => (PermissionMode::Deny, None, None),
        };
        Some(NewPermissionRule { mode, tool: Some(asked.tool.clone()), workspace: Some(workspace.to_owned()), subject, expires_in_ms })
    }
}

/// The answer that the harness gets: one of the options that it offers itself, and it asks again next time, so that octo decides again. `reason` is told to
/// the agent with a denial.
#[must_use]
pub fn for_harness(asked: &Asked, allowed: bool, reason: Option<String>) -> InputAnswer {
    let wanted = if allowed { PermissionKind::AllowOnce } else { PermissionKind::DenyOnce };
    let option_id = asked.options.iter().find(|option| option.kind == wanted).map(|option| option.option_id.clone());
    InputAnswer { value: reason.filter(|_| !allowed), confirmed: Some(allowed), cancelled: None, option_id }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use octo_protocol::InputRequest;
    use serde_json::json;

    fn asked(metadata: serde_json::Value) -> Asked {
        let (request_id, title) = ("q".to_owned(), "?".to_owned());
        Asked::of(&InputRequest::Permission { request_id, title, description: None, metadata: Some(metadata), options: None }).unwrap()
    }

    #[test]
    fn what_is_offered_is_what_is_taken_and_says_what_is_remembered() {
        let asked = asked(json!({"tool": "bash", "command": "ls\n-l"}));
        let options = Choice::options(&asked).unwrap();
        assert_eq!(options.iter().map(|o| o.option_id.as_str()).collect::<Vec<_>>(), Choice::ALL.map(Choice::id));
        assert_eq!(options[1].label, "Always allow “ls -l” in this folder");
        for option in options {
            let answer = InputAnswer { option_id: Some(option.option_id.clone()), ..InputAnswer::default() };
            let choice = Choice::of(&answer, &asked).unwrap();
            assert_eq!((choice.id(), choice.kind()), (option.option_id.as_str(), option.kind));
            assert_eq!(
                choice.rule(&asked, "/w").is_some(),
                matches!(option.kind, PermissionKind::AllowAlways | PermissionKind::DenyAlways)
            );
        }
        let this = Choice::AllowThis.rule(&asked, "/w").unwrap();
        assert_eq!((this.subject.as_deref(), this.workspace.as_deref(), this.expires_in_ms), (Some("ls\n-l"), Some("/w"), None));
        assert_eq!(Choice::AllowForAnHour.rule(&asked, "/w").unwrap().expires_in_ms, Some(HOUR_MS));
    }

    #[test]
    fn older_clients_answer_yes_no_or_not_at_all() {
        let asked = asked(json!({"tool": "bash", "command": "ls"}));
        let answer = |confirmed, cancelled| Choice::of(&InputAnswer { confirmed, cancelled, ..InputAnswer::default() }, &asked);
        assert_eq!(answer(Some(true), None).unwrap(), Choice::AllowOnce);
        assert_eq!(answer(Some(false), None).unwrap(), Choice::DenyOnce);
        assert_eq!(answer(None, Some(true)).unwrap(), Choice::DenyOnce);
        assert_eq!(answer(None, None).unwrap_err().code, ErrorCode::InvalidRequest);
        let unknown = InputAnswer { option_id: Some("nope".into()), confirmed: Some(true), ..InputAnswer::default() };
        assert_eq!(Choice::of(&unknown, &asked).unwrap_err().code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn an_option_of_the_harness_itself_is_taken_for_what_its_kind_says() {
        let mut asked = asked(json!({"tool": "Write", "path": "/w/a"}));
        asked.options = vec![PermissionOption { option_id: "all_edits".into(), label: "All".into(), kind: PermissionKind::AllowAlways }];
        let answer = InputAnswer { option_id: Some("all_edits".into()), ..InputAnswer::default() };
        assert_eq!(Choice::of(&answer, &asked).unwrap(), Choice::AllowTool);
    }

    #[test]
    fn what_was_cut_short_cannot_be_allowed_for_ever() {
        let asked = asked(json!({"tool": "bash", "command": "ls", "truncated": true}));
        assert!(Choice::options(&asked).unwrap().iter().all(|option| option.option_id != "allow_this"));
        let answer = InputAnswer { option_id: Some("allow_this".into()), ..InputAnswer::default() };
        assert!(Choice::of(&answer, &asked).is_err());
    }

    #[test]
    fn the_harness_gets_one_of_its_own_options_and_never_an_always() {
        let option = |id: &str, kind| PermissionOption { option_id: id.into(), label: id.into(), kind };
        let mut asked = asked(json!({"tool": "bash", "command": "ls"}));
        asked.options = vec![
            option("yes!", PermissionKind::AllowAlways),
            option("yes", PermissionKind::AllowOnce),
            option("no", PermissionKind::DenyOnce),
        ];
        assert_eq!(for_harness(&asked, true, None).option_id.as_deref(), Some("yes"));
        let denied = for_harness(&asked, false, Some("because".into()));
        assert_eq!((denied.option_id.as_deref(), denied.confirmed, denied.value.as_deref()), (Some("no"), Some(false), Some("because")));
        asked.options.clear();
        assert_eq!(for_harness(&asked, true, Some("unused".into())), InputAnswer { confirmed: Some(true), ..InputAnswer::default() });
    }
}
