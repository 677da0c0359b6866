//! Every kind of actor of octo and where it lives: the whole policy in one place to read.

use crate::{acp, eavs, mux, telemetry, users};
use octo_actors::Kind;

/// Where each kind lives, and its policy.
#[must_use]
pub fn kinds() -> Vec<(&'static str, Kind)> {
    vec![
        ("/services", eavs::SERVICES),
        ("/services/eavs", eavs::SERVICE),
        ("/telemetry", telemetry::TELEMETRY),
        ("/users", users::USERS),
        ("/users/<u>", users::USER),
        ("/users/<u>/runner", users::RUNNER),
        ("/users/<u>/sessions/<s>", users::SESSION),
        ("/users/<u>/connections/<n>", mux::CONNECTION),
        ("/users/<u>/acp/<n>", acp::CONNECTION),
    ]
}
