//! States and kinds by the names that the database has for them.

use octo_protocol::SessionStatus;
use octo_protocol::event::InputKind;

pub(super) fn status_text(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Starting => "starting",
        SessionStatus::Idle => "idle",
        SessionStatus::Working => "working",
        SessionStatus::NeedsInput => "needs_input",
        SessionStatus::Error => "error",
        SessionStatus::Closed | SessionStatus::Unreachable => "closed",
    }
}

pub(super) fn status_of(text: &str) -> SessionStatus {
    match text {
        "starting" => SessionStatus::Starting,
        "working" => SessionStatus::Working,
        "needs_input" => SessionStatus::NeedsInput,
        "error" => SessionStatus::Error,
        "closed" => SessionStatus::Closed,
        _ => SessionStatus::Idle,
    }
}

pub(super) fn kind_text(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Prompt => "prompt",
        InputKind::Steer => "steer",
        InputKind::FollowUp => "follow_up",
    }
}

pub(super) fn kind_of_input(text: &str) -> InputKind {
    match text {
        "steer" => InputKind::Steer,
        "follow_up" => InputKind::FollowUp,
        _ => InputKind::Prompt,
    }
}
