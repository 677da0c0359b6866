//! The decision. Pure.

use super::Asked;
use octo_protocol::permission::PermissionPolicy;
use octo_protocol::{PermissionMode, PermissionRule};

/// What becomes of a call, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub mode: PermissionMode,
    /// The rule that decided; the policy when there is none.
    pub rule: Option<String>,
}

/// What becomes of `asked` in a session that works in `workspace`, at `now` (Unix milliseconds); `otherwise` is what the session, the configuration or the
/// agent says where nothing else does. See [`octo_protocol::permission`] for the order.
#[must_use]
pub fn decide(
    policy: &PermissionPolicy,
    otherwise: PermissionMode,
    rules: &[PermissionRule],
    asked: &Asked,
    workspace: &str,
    now: i64,
) -> Decision {
    let by_policy = |mode| Decision { mode, rule: None };
    if asked.needs_person {
        return by_policy(PermissionMode::Ask);
    }
    let named = policy.tools.iter().find(|(tool, _)| same_tool(tool, &asked.tool)).map(|(_, mode)| *mode);
    if named == Some(PermissionMode::Deny) {
        return by_policy(PermissionMode::Deny);
    }
    let matching = rules.iter().filter(|rule| matches(rule, asked, workspace, now));
    match matching.max_by_key(|rule| (specificity(rule), rule.mode)) {
        Some(rule) => Decision { mode: rule.mode, rule: Some(rule.id.clone()) },
        None => by_policy(named.unwrap_or(otherwise)),
    }
}

/// Names of tools differ between agents in their capitals only.
pub fn same_tool(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn matches(rule: &PermissionRule, asked: &Asked, workspace: &str, now: i64) -> bool {
    rule.expires_at.is_none_or(|at| now < at)
        && rule.tool.as_ref().is_none_or(|tool| same_tool(tool, &asked.tool))
        && rule.workspace.as_ref().is_none_or(|folder| folder == workspace)
        && rule.subject.as_ref().is_none_or(|subject| asked.is_whole && asked.subject.as_ref() == Some(subject))
}

fn specificity(rule: &PermissionRule) -> (bool, bool, bool) {
    (rule.subject.is_some(), rule.tool.is_some(), rule.workspace.is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use PermissionMode::{Allow, Ask, Deny};
    use octo_protocol::InputRequest;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn asked(metadata: Value) -> Asked {
        let (request_id, title) = ("q".to_owned(), "?".to_owned());
        Asked::of(&InputRequest::Permission { request_id, title, description: None, metadata: Some(metadata), options: None }).unwrap()
    }

    fn bash(command: &str) -> Asked {
        asked(json!({"tool": "bash", "command": command}))
    }

    fn rule(id: &str, mode: PermissionMode, tool: Option<&str>, workspace: Option<&str>, subject: Option<&str>) -> PermissionRule {
        PermissionRule {
            id: id.to_owned(),
            mode,
            tool: tool.map(str::to_owned),
            workspace: workspace.map(str::to_owned),
            subject: subject.map(str::to_owned),
            created_at: 0,
            created_by: "alice".to_owned(),
            session_id: None,
            expires_at: None,
            uses: 0,
            last_used_at: None,
        }
    }

    fn policy(tools: &[(&str, PermissionMode)]) -> PermissionPolicy {
        let tools = tools.iter().map(|(tool, mode)| ((*tool).to_owned(), *mode)).collect();
        PermissionPolicy { default: None, tools, timeout_ms: None, on_timeout: Deny }
    }

    fn by_rule(mode: PermissionMode, id: &str) -> Decision {
        Decision { mode, rule: Some(id.to_owned()) }
    }

    #[test]
    fn the_configurations_denial_holds_whatever_the_rules_and_the_session_say() {
        let policy = policy(&[("Bash", Deny)]);
        let rules = [rule("r", Allow, Some("bash"), None, Some("ls"))];
        assert_eq!(decide(&policy, Allow, &rules, &bash("ls"), "/w", 0), Decision { mode: Deny, rule: None });
    }

    #[test]
    fn a_rule_comes_before_the_configurations_word_and_that_before_the_sessions() {
        let policy = policy(&[("bash", Ask)]);
        let rules = [rule("r", Allow, Some("bash"), Some("/w"), None)];
        assert_eq!(decide(&policy, Allow, &rules, &bash("ls"), "/w", 0), by_rule(Allow, "r"));
        assert_eq!(decide(&policy, Allow, &rules, &bash("ls"), "/other", 0).mode, Ask, "another folder");
        assert_eq!(decide(&policy, Allow, &[], &asked(json!({"tool": "read", "path": "/x"})), "/w", 0).mode, Allow);
        assert_eq!(decide(&policy, Deny, &[], &asked(json!({"tool": "read", "path": "/x"})), "/w", 0).mode, Deny);
    }

    #[test]
    fn the_most_specific_rule_decides_and_of_equal_ones_the_strictest() {
        let policy = policy(&[]);
        let rules = [
            rule("tool", Deny, Some("bash"), None, None),
            rule("here", Ask, Some("bash"), Some("/w"), None),
            rule("this", Allow, Some("bash"), None, Some("git status")),
            rule("all", Deny, None, Some("/w"), None),
        ];
        let now = |command: &str, workspace: &str| decide(&policy, Allow, &rules, &bash(command), workspace, 0);
        assert_eq!(now("git status", "/w"), by_rule(Allow, "this"));
        assert_eq!(now("git push", "/w"), by_rule(Ask, "here"));
        assert_eq!(now("git push", "/elsewhere"), by_rule(Deny, "tool"));
        let twice = [rule("a", Allow, Some("bash"), None, None), rule("b", Deny, Some("bash"), None, None)];
        assert_eq!(decide(&policy, Allow, &twice, &bash("x"), "/w", 0), by_rule(Deny, "b"));
    }

    #[test]
    fn an_expired_rule_decides_nothing() {
        let rules = [PermissionRule { expires_at: Some(100), ..rule("r", Allow, Some("bash"), None, None) }];
        let policy = policy(&[]);
        assert_eq!(decide(&policy, Ask, &rules, &bash("x"), "/w", 99), by_rule(Allow, "r"));
        assert_eq!(decide(&policy, Ask, &rules, &bash("x"), "/w", 100), Decision { mode: Ask, rule: None });
    }

    #[test]
    fn what_was_cut_short_matches_no_rule_that_names_a_command() {
        let rules = [rule("r", Allow, Some("bash"), None, Some("ls"))];
        let cut = asked(json!({"tool": "bash", "command": "ls", "truncated": true}));
        assert_eq!(decide(&policy(&[]), Ask, &rules, &cut, "/w", 0).mode, Ask);
        let long = "x".repeat(super::super::asked::MAX_SUBJECT + 1);
        let rules = [rule("r", Allow, Some("bash"), None, Some(&long))];
        assert_eq!(decide(&policy(&[]), Ask, &rules, &bash(&long), "/w", 0).mode, Ask);
    }

    #[test]
    fn what_only_a_person_can_answer_is_asked_whatever_the_policy() {
        for metadata in [json!({"tool": "ExitPlanMode", "needs_person": true}), json!({"command": "no tool"}), json!({"tool": ""})] {
            let rules = [rule("r", Allow, None, None, None)];
            assert_eq!(decide(&policy(&[]), Allow, &rules, &asked(metadata), "/w", 0).mode, Ask);
        }
        let bare = InputRequest::Permission { request_id: "q".into(), title: "?".into(), description: None, metadata: None, options: None };
        assert!(Asked::of(&bare).unwrap().needs_person);
    }

    fn mode() -> impl Strategy<Value = PermissionMode> {
        prop_oneof![Just(Allow), Just(Ask), Just(Deny)]
    }

    fn rules() -> impl Strategy<Value = Vec<PermissionRule>> {
        let name = |names: &'static [&'static str]| proptest::option::of(prop::sample::select(names));
        let one = (mode(), name(&["bash", "read"]), name(&["/w", "/v"]), name(&["ls", "rm"]), proptest::option::of(-5i64..5));
        let all = prop::collection::vec(one, 0..12);
        all.prop_map(|all| {
            all.into_iter()
                .enumerate()
                .map(|(n, (mode, tool, workspace, subject, expires_at))| PermissionRule {
                    expires_at,
                    ..rule(&n.to_string(), mode, tool, workspace, subject)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_order_of_the_rules_changes_no_decision(rules in rules(), otherwise in mode()) {
            let policy = policy(&[]);
            let there = decide(&policy, otherwise, &rules, &bash("ls"), "/w", 0);
            let back: Vec<PermissionRule> = rules.iter().rev().cloned().collect();
            prop_assert_eq!(there.mode, decide(&policy, otherwise, &back, &bash("ls"), "/w", 0).mode);
            // Only a rule that matches decides.
            if let Some(id) = there.rule {
                let decided = rules.iter().find(|rule| rule.id == id).unwrap();
                prop_assert!(decided.mode == there.mode && matches(decided, &bash("ls"), "/w", 0));
            } else {
                prop_assert!(!rules.iter().any(|rule| matches(rule, &bash("ls"), "/w", 0)));
            }
        }
    }
}
