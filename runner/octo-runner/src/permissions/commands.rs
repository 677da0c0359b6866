//! Commands about the rules of this user; no session is needed for them.

use crate::clock::now_ms;
use crate::journal::RuleChange;
use crate::session::{Answered, Registry, json};
use octo_protocol::permission::Permissions;
use octo_protocol::{Command, ErrorCode, ProtocolError};

/// Whether it is one of them.
#[must_use]
pub fn is_about_rules(command: &Command) -> bool {
    matches!(command, Command::PermissionList | Command::PermissionAdd { .. } | Command::PermissionRemove { .. })
}

/// Carries one out for the account `actor`.
///
/// # Errors
/// [`ProtocolError`], a sentence for the person.
pub async fn about_rules(registry: &Registry, command: Command, actor: &str) -> Answered {
    let shared = registry.shared();
    match command {
        Command::PermissionList => json(&Permissions { policy: shared.policy.clone(), rules: shared.rules.holding(now_ms()) }),
        Command::PermissionAdd { rule } => {
            let rule = shared.rules.make(rule, actor, None, now_ms())?;
            shared.journal.change_rules(RuleChange::Add(Box::new(rule.clone()))).await?;
            shared.rules.added(rule.clone());
            registry.rules_changed("");
            json(&rule)
        }
        Command::PermissionRemove { rule_id } => {
            if !shared.rules.all().iter().any(|rule| rule.id == rule_id) {
                let shown: String = rule_id.chars().take(64).collect();
                let message = format!("there is no rule {shown:?}; it was removed, or has expired");
                return Err(ProtocolError::new(ErrorCode::InvalidRequest, message));
            }
            shared.journal.change_rules(RuleChange::Remove { id: rule_id.clone() }).await?;
            shared.rules.removed(&rule_id);
            json(&())
        }
        other => Err(ProtocolError::new(ErrorCode::InvalidRequest, format!("{} is no command about rules", other.name()))),
    }
}
