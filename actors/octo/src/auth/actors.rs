//! Actors as objects: whose subtree one lies in, and what its owner may do there besides looking.

use octo_actors::ActorPath;

use super::UserId;

/// What the owner of a subtree may do with an actor in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnersRight {
    /// See it, inspect it, trace it.
    Look,
    /// Restart it, too.
    Restart,
}

/// Every kind of actor below `/users/<u>`: where it lives, in octo and (below `runner/`) in the user's runner, and what that user may do with it.
///
/// One's own are sessions and their agents: what a restart of them costs, nobody else pays. The user's actor, the link and what keeps the runner going
/// are the operator's. By place and not by the name of the kind, for the rows of a runner come from the user's uid. What is not here, only admins restart;
/// `tests/tests/policies.rs` holds that every kind is.
pub const OWNERS_RIGHTS: &[(&str, &str, OwnersRight)] = {
    use OwnersRight::{Look, Restart};
    &[
        ("", "user", Look),
        ("runner", "runner", Look),
        ("sessions/<s>", "session", Restart),
        ("connections/<n>", "connection", Look),
        ("acp/<n>", "acp", Look),
        ("runner/history", "history", Look),
        ("runner/retention", "retention", Look),
        ("runner/idle", "idle", Look),
        ("runner/link", "link", Look),
        ("runner/link/<n>", "connection", Look),
        ("runner/sessions", "sessions", Look),
        ("runner/sessions/<s>", "session", Restart),
        ("runner/sessions/<s>/agent", "agent", Restart),
    ]
};

/// The root of a user's subtree.
#[must_use]
pub fn subtree_of(user: &UserId) -> ActorPath {
    // An id is made of characters that a path may have, and is short.
    ActorPath::root().join(&format!("users/{user}")).unwrap_or_else(|_| ActorPath::root())
}

/// What remains of `path` below the subtree of `user`; `None` outside of it.
pub(super) fn below<'a>(path: &'a ActorPath, user: &UserId) -> Option<&'a str> {
    let rest = path.as_str().strip_prefix("/users/")?.strip_prefix(user.as_str())?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// What the owner may do with the actor at `below`, a path within the subtree.
pub(super) fn owners_right(below: &str) -> OwnersRight {
    let found = OWNERS_RIGHTS.iter().find(|(place, ..)| matches(place, below));
    found.map_or(OwnersRight::Look, |(_, _, right)| *right)
}

fn matches(place: &str, below: &str) -> bool {
    let mut segments = below.split('/');
    place.split('/').all(|wanted| segments.next().is_some_and(|segment| wanted.starts_with('<') || wanted == segment))
        && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_owner_restarts_sessions_and_agents_and_only_looks_at_the_rest() {
        for below in ["sessions/s", "runner/sessions/s", "runner/sessions/s/agent"] {
            assert_eq!(owners_right(below), OwnersRight::Restart, "{below}");
        }
        for below in [
            "",
            "runner",
            "connections/7",
            "runner/link",
            "runner/link/1",
            "runner/sessions",
            "runner/sessions/s/agent/x",
            "sessions",
            "new/s",
        ] {
            assert_eq!(owners_right(below), OwnersRight::Look, "{below}");
        }
    }

    #[test]
    fn a_subtree_ends_where_the_name_of_its_user_ends() {
        let user = UserId::new("al").unwrap();
        let within = |path: &str| below(&ActorPath::parse(path).unwrap(), &user).map(str::to_owned);
        assert_eq!(within("/users/al"), Some(String::new()));
        assert_eq!(within("/users/al/sessions/s"), Some("sessions/s".to_owned()));
        for outside in ["/", "/users", "/users/alice", "/users/alice/sessions/s", "/services"] {
            assert_eq!(within(outside), None, "{outside}");
        }
        assert_eq!(subtree_of(&user).as_str(), "/users/al");
    }
}
