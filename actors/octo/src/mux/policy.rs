//! What each command of the `agent` channel takes: its action, its patience, whether it needs the agent, and whose session it means. Frames of the other channels are
//! authorized where they are taken ([`super::channels`]).
//!
//! A match without a wildcard: a command without a policy does not compile.

use crate::auth::{Action, Denied, Object, Principal, UserId, authorize};
use crate::sessions::{DELETE_DEADLINE, OPEN_DEADLINE};
use octo_protocol::{Command, ErrorCode, ProtocolError, SessionId};
use std::time::Duration;

/// Patience for what the runner answers by itself.
const QUERY: Duration = Duration::from_secs(15);
/// Patience for what the agent is asked.
const AGENT: Duration = Duration::from_secs(30);
/// Patience for an input with images: the journal has to have it.
const INPUT: Duration = Duration::from_secs(60);
/// Patience for a compaction, which is a model's answer.
const COMPACT: Duration = Duration::from_secs(600);
/// The longest that a command of a person and a delegation may be waited for.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a command takes.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// For `authorize`.
    pub action: Action,
    /// How long the runner may take.
    pub patience: Duration,
    /// It may start the session's agent, or is for it alone. What ends an agent, or a turn of it, is not among them.
    pub needs_agent: bool,
}

/// The policy of a command.
pub fn policy(command: &Command) -> Policy {
    use Action::{Create, Delete, Read, Write};
    let (action, patience, needs_agent) = match command {
        Command::SessionCreate { .. } => (Create, OPEN_DEADLINE, false),
        Command::SessionDelete => (Delete, DELETE_DEADLINE, false),
        Command::SessionClose => (Write, DELETE_DEADLINE, false),
        Command::SessionRestart | Command::SessionNew { .. } | Command::SessionSwitch { .. } | Command::Fork { .. } => {
            (Write, OPEN_DEADLINE, true)
        }
        Command::SessionAttach { .. }
        | Command::SessionDetach
        | Command::ListSessions
        | Command::GetState
        | Command::GetMessages { .. }
        | Command::GetStats
        | Command::PermissionList => (Read, QUERY, false),
        Command::GetModels { .. } => (Read, AGENT, false),
        Command::GetCommands | Command::GetForkPoints => (Read, AGENT, true),
        Command::Prompt { .. } | Command::Steer { .. } | Command::FollowUp { .. } => (Write, INPUT, true),
        Command::Compact { .. } => (Write, COMPACT, true),
        Command::Bash { .. } => (Write, LONGEST, true),
        Command::Delegate { timeout_ms, .. } => (Write, (Duration::from_millis(*timeout_ms) + QUERY).min(LONGEST), true),
        Command::InputResponse { .. }
        | Command::Abort
        | Command::DelegateCancel { .. }
        | Command::PermissionAdd { .. }
        | Command::PermissionRemove { .. }
        | Command::SetPermissions { .. } => (Write, QUERY, false),
        Command::SetModel { .. }
        | Command::CycleModel
        | Command::SetThinkingLevel { .. }
        | Command::CycleThinkingLevel
        | Command::SetAutoCompaction { .. }
        | Command::SetAutoRetry { .. }
        | Command::ExportHtml { .. } => (Write, AGENT, true),
        Command::AbortRetry
        | Command::AbortBash
        | Command::SetSessionName { .. }
        | Command::QueueDrop { .. }
        | Command::QueueReplace { .. } => (Write, AGENT, false),
    };
    Policy { action, patience, needs_agent }
}

/// Whose session a command means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub owner: UserId,
    /// `None` for `""` and `_system`.
    pub session: Option<SessionId>,
}

impl Scope {
    /// Reads a frame's `session_id`: one's own session, or for admins `user/session`; and asks `authorize`.
    ///
    /// # Errors
    /// `session_not_found` also for what belongs to somebody else, `permission_denied`, `invalid_request`.
    pub fn resolve(principal: &Principal, session_id: &str, action: Action) -> Result<Self, ProtocolError> {
        let not_found = || ProtocolError::session_not_found(short(session_id));
        let (owner, name) = match session_id.split_once('/') {
            Some((owner, name)) => (UserId::new(owner).map_err(|_| not_found())?, name),
            None => (principal.user_id.clone(), session_id),
        };
        let session = match name {
            "" | "_system" => None,
            name => Some(SessionId::new(name).map_err(|error| ProtocolError::new(ErrorCode::InvalidRequest, error.to_string()))?),
        };
        let object = match &session {
            Some(session) => Object::Session(&owner, session.as_str()),
            None => Object::Sessions(&owner),
        };
        match authorize(principal, action, &object) {
            Ok(()) => Ok(Self { owner, session }),
            Err(Denied::NotFound) => Err(not_found()),
            Err(denied @ Denied::Forbidden) => Err(ProtocolError::new(ErrorCode::PermissionDenied, denied.to_string())),
        }
    }
}

/// What came from outside is only quoted in part.
fn short(text: &str) -> String {
    text.chars().take(160).collect()
}
