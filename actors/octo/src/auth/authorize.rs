//! The one decision: may this principal do this to that?

use octo_actors::ActorPath;

use super::actors::{OwnersRight, below, owners_right};
use super::{Principal, Role, UserId};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Look at it, subscribe to it.
    Read,
    /// Change it, send it input, answer for it.
    Write,
    /// Make a new one.
    Create,
    /// Delete it.
    Delete,
}

/// What it is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object<'a> {
    /// What every account may know of the server: features, models, its API.
    Server,
    /// An account.
    Account(&'a UserId),
    /// The sessions and history of a user, as a whole.
    Sessions(&'a UserId),
    /// One session of a user.
    Session(&'a UserId, &'a str),
    /// An actor and, for who reads, all below it.
    Actor(&'a ActorPath),
    /// The inside of the server: the whole tree of actors, audit, other accounts.
    Operations,
    /// What the server counts.
    Figures,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The object belongs to somebody else: for this principal it does not exist.
    #[error("there is no such object")]
    NotFound,
    /// It exists, and takes rights that the principal does not have.
    #[error("this takes the role admin; ask an admin of this server")]
    Forbidden,
}

/// Decides. Whoever reaches an object has come through here.
///
/// # Errors
/// [`Denied`].
pub fn authorize(principal: &Principal, action: Action, object: &Object<'_>) -> Result<(), Denied> {
    match object {
        Object::Figures if principal.role == Role::Monitor && action == Action::Read => Ok(()),
        _ if principal.role == Role::Monitor => Err(Denied::Forbidden),
        Object::Server if action == Action::Read => Ok(()),
        _ if principal.is_admin() => Ok(()),
        Object::Server | Object::Operations | Object::Figures => Err(Denied::Forbidden),
        Object::Account(owner) => match action {
            _ if *owner != &principal.user_id => Err(Denied::NotFound),
            Action::Read | Action::Write => Ok(()),
            Action::Create | Action::Delete => Err(Denied::Forbidden),
        },
        Object::Sessions(owner) | Object::Session(owner, _) => {
            if *owner == &principal.user_id {
                Ok(())
            } else {
                Err(Denied::NotFound)
            }
        }
        Object::Actor(path) => {
            let Some(below) = below(path, &principal.user_id) else { return Err(Denied::NotFound) };
            match (action, owners_right(below)) {
                (Action::Read, _) | (Action::Write, OwnersRight::Restart) => Ok(()),
                (Action::Write, OwnersRight::Look) | (Action::Create | Action::Delete, _) => Err(Denied::Forbidden),
            }
        }
    }
}
