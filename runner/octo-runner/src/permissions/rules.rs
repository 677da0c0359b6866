//! The rules of one user, in memory as the journal has them.
//!
//! Whoever wants to change them writes to the journal first and then says so here. Reading is a pointer: every session looks at every call.

use octo_protocol::permission::NewPermissionRule;
use octo_protocol::{ErrorCode, PermissionRule, ProtocolError};
use std::sync::{Arc, PoisonError, RwLock};

/// Rules that one user may have.
pub const MAX_RULES: usize = 1000;
/// Longest name of a tool, and longest path of a folder, in bytes.
const MAX_TOOL: usize = 256;
const MAX_WORKSPACE: usize = 4096;

/// All rules of this user. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Rules(Arc<RwLock<Arc<Vec<PermissionRule>>>>);

impl Rules {
    /// Those that the journal holds.
    #[must_use]
    pub fn new(rules: Vec<PermissionRule>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(rules))))
    }

    /// All of them, also those that have expired, oldest first.
    #[must_use]
    pub fn all(&self) -> Arc<Vec<PermissionRule>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that hold at `now`, oldest first.
    #[must_use]
    pub fn holding(&self, now: i64) -> Vec<PermissionRule> {
        self.all().iter().filter(|rule| rule.expires_at.is_none_or(|at| now < at)).cloned().collect()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<PermissionRule>)) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut held));
    }

    /// The journal has it.
    pub fn added(&self, rule: PermissionRule) {
        self.change(|rules| {
            rules.retain(|known| known.id != rule.id && known.expires_at.is_none_or(|at| rule.created_at < at));
            rules.push(rule);
        });
    }

    /// The journal does not have it any more.
    pub fn removed(&self, id: &str) {
        self.change(|rules| rules.retain(|rule| rule.id != id));
    }

    /// It has decided a call.
    pub fn used(&self, id: &str, now: i64) {
        self.change(|rules| {
            if let Some(rule) = rules.iter_mut().find(|rule| rule.id == id) {
                rule.uses += 1;
                rule.last_used_at = Some(now);
            }
        });
    }

    /// A new rule, to be written: checked, and with its id. One that says the same of the same is replaced: it keeps its id.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidRequest`], [`ErrorCode::LimitExceeded`]: sentences for the person.
    pub fn make(&self, new: NewPermissionRule, by: &str, session: Option<&str>, now: i64) -> Result<PermissionRule, ProtocolError> {
        let invalid = |what: String| ProtocolError::new(ErrorCode::InvalidRequest, what);
        let NewPermissionRule { mode, tool, workspace, subject, expires_in_ms } = new;
        let tool = tool.map(|tool| tool.trim().to_owned());
        if tool.as_ref().is_some_and(|tool| tool.is_empty() || tool.len() > MAX_TOOL) {
            return Err(invalid(format!("the name of a tool has 1 to {MAX_TOOL} bytes; leave it out for every tool")));
        }
        if workspace.as_ref().is_some_and(|folder| !folder.starts_with('/') || folder.len() > MAX_WORKSPACE) {
            return Err(invalid("the folder of a rule is an absolute path; leave it out for every folder".to_owned()));
        }
        if subject.as_ref().is_some_and(|subject| subject.is_empty() || subject.len() > super::asked::MAX_SUBJECT) {
            let most = super::asked::MAX_SUBJECT;
            return Err(invalid(format!("the command, path or address of a rule has 1 to {most} bytes; leave it out for every one")));
        }
        if expires_in_ms == Some(0) {
            return Err(invalid("a rule that holds for no time is none; leave expires_in_ms out for one that holds for ever".to_owned()));
        }
        let expires_at = expires_in_ms.map(|ms| now.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)));
        let all = self.all();
        let same = |rule: &&PermissionRule| rule.tool == tool && rule.workspace == workspace && rule.subject == subject;
        let known = all.iter().find(same).map(|rule| rule.id.clone());
        if known.is_none() && self.holding(now).len() >= MAX_RULES {
            let message = format!("octo remembers {MAX_RULES} rules already, the limit; remove some first");
            return Err(ProtocolError::new(ErrorCode::LimitExceeded, message));
        }
        let id = known.unwrap_or_else(|| format!("rule_{}", uuid::Uuid::now_v7().simple()));
        let (created_by, session_id) = (by.to_owned(), session.map(str::to_owned));
        Ok(PermissionRule {
            id,
            mode,
            tool,
            workspace,
            subject,
            created_at: now,
            created_by,
            session_id,
            expires_at,
            uses: 0,
            last_used_at: None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use octo_protocol::PermissionMode;

    fn new(mode: PermissionMode, tool: &str) -> NewPermissionRule {
        NewPermissionRule { mode, tool: Some(tool.to_owned()), ..NewPermissionRule::default() }
    }

    #[test]
    fn a_rule_about_the_same_replaces_the_one_before() {
        let rules = Rules::default();
        let first = rules.make(new(PermissionMode::Allow, "bash"), "alice", None, 1).unwrap();
        rules.added(first.clone());
        rules.used(&first.id, 5);
        assert_eq!((rules.all()[0].uses, rules.all()[0].last_used_at), (1, Some(5)));
        let second = rules.make(new(PermissionMode::Deny, "bash"), "alice", Some("s"), 2).unwrap();
        assert_eq!(second.id, first.id);
        rules.added(second);
        assert_eq!(rules.all().len(), 1);
        assert_eq!(rules.all()[0].mode, PermissionMode::Deny);
        rules.removed(&first.id);
        assert!(rules.all().is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_sentence() {
        let rules = Rules::default();
        let bad = [
            NewPermissionRule { tool: Some(" ".into()), ..NewPermissionRule::default() },
            NewPermissionRule { workspace: Some("relative".into()), ..NewPermissionRule::default() },
            NewPermissionRule { subject: Some(String::new()), ..NewPermissionRule::default() },
            NewPermissionRule { subject: Some("x".repeat(9000)), ..NewPermissionRule::default() },
            NewPermissionRule { expires_in_ms: Some(0), ..NewPermissionRule::default() },
        ];
        for new in bad {
            assert_eq!(rules.make(new.clone(), "alice", None, 1).unwrap_err().code, ErrorCode::InvalidRequest, "{new:?}");
        }
        for n in 0..MAX_RULES {
            rules.added(rules.make(new(PermissionMode::Allow, &format!("tool{n}")), "alice", None, 1).unwrap());
        }
        assert_eq!(rules.make(new(PermissionMode::Allow, "more"), "alice", None, 1).unwrap_err().code, ErrorCode::LimitExceeded);
        assert!(rules.make(new(PermissionMode::Deny, "tool7"), "alice", None, 1).is_ok(), "one that is known can be changed");
    }
}
