//! What each command of the `agent` channel takes: its action, its patience, and whose session it means. Frames of the other channels are
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

/// What a command does, for `authorize`.
pub fn action(command: &Command) -> Action {
    match command {
        Command::SessionCreate { .. } => Action::Create,
        Command::SessionDelete => Action::Delete,
        Command::SessionAttach { .. }
        | Command::SessionDetach
        | Command::ListSessions
        | Command::GetState
        | Command::GetMessages { .. }
        | Command::GetStats
        | Command::GetModels { .. }
        | Command::GetCommands
        | Command::GetForkPoints
        | Command::PermissionList => Action::Read,
        Command::SessionClose
        | Command::SessionRestart
        | Command::SessionNew { .. }
        | Command::SessionSwitch { .. }
        | Command::Prompt { .. }
        | Command::Steer { .. }
        | Command::FollowUp { .. }
        | Command::Abort
        | Command::InputResponse { .. }
        | Command::Fork { .. }
        | Command::SetModel { .. }
        | Command::CycleModel
        | Command::SetThinkingLevel { .. }
        | Command::CycleThinkingLevel
        | Command::SetAutoCompaction { .. }
        | Command::SetAutoRetry { .. }
        | Command::Compact { .. }
        | Command::AbortRetry
        | Command::SetSessionName { .. }
        | Command::Bash { .. }
        | Command::AbortBash
        | Command::ExportHtml { .. }
        | Command::Delegate { .. }
        | Command::DelegateCancel { .. }
        | Command::PermissionAdd { .. }
        | Command::PermissionRemove { .. }
        | Command::SetPermissions { .. }
        | Command::QueueDrop { .. }
        | Command::QueueReplace { .. } => Action::Write,
    }
}

/// How long the runner may take.
pub fn patience(command: &Command) -> Duration {
    match command {
        Command::SessionCreate { .. }
        | Command::SessionRestart
        | Command::SessionNew { .. }
        | Command::SessionSwitch { .. }
        | Command::Fork { .. } => OPEN_DEADLINE,
        Command::SessionDelete | Command::SessionClose => DELETE_DEADLINE,
        Command::Prompt { .. } | Command::Steer { .. } | Command::FollowUp { .. } => INPUT,
        Command::Compact { .. } => COMPACT,
        Command::Bash { .. } => LONGEST,
        Command::Delegate { timeout_ms, .. } => (Duration::from_millis(*timeout_ms) + QUERY).min(LONGEST),
        Command::SessionAttach { .. }
        | Command::SessionDetach
        | Command::ListSessions
        | Command::GetState
        | Command::GetMessages { .. }
        | Command::GetStats
        | Command::InputResponse { .. }
        | Command::Abort
        | Command::DelegateCancel { .. }
        | Command::PermissionList
        | Command::PermissionAdd { .. }
        | Command::PermissionRemove { .. }
        | Command::SetPermissions { .. } => QUERY,
        Command::GetModels { .. }
        | Command::GetCommands
        | Command::GetForkPoints
        | Command::SetModel { .. }
        | Command::CycleModel
        | Command::SetThinkingLevel { .. }
        | Command::CycleThinkingLevel
        | Command::SetAutoCompaction { .. }
        | Command::SetAutoRetry { .. }
        | Command::AbortRetry
        | Command::SetSessionName { .. }
        | Command::AbortBash
        | Command::ExportHtml { .. }
        | Command::QueueDrop { .. }
        | Command::QueueReplace { .. } => AGENT,
    }
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
