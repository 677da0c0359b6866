//! `/api/admin`: the inside of octo, for operators. Every route is [`super::Policy::Admin`]; on the admin socket the kernel says who asks, over
//! HTTP a token does, and the answers are the same.
//!
//! Looking at an actor never asks that actor. Whatever changes something is written to the audit and the log, with who did it ([`record`]).

pub mod actors;
pub mod config;
pub mod events;
pub mod logs;
pub mod path;
pub(super) mod record;
pub mod runners;
pub mod sessions;
pub mod status;
pub mod store;
pub(super) mod stream;
pub mod trace;
pub mod users;

use serde::Deserialize;

/// Which actor.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PathQuery {
    /// Absolute path in the tree; all that the account may see when absent.
    pub(super) path: Option<String>,
}
