//! Who asks, and whether they may.
//!
//! [`Authenticator`] turns a request into a [`Principal`]; [`authorize`] is the only door to any object, for REST, the WebSocket
//! upgrade, every mux command and every subscription alike. Loopback is not authentication.

mod accounts;
mod actors;
mod authenticator;
mod authorize;
mod browser;
mod clock;
mod initial;
mod limiter;
mod live;
mod password;
mod peer;
mod principal;
mod tickets;
mod token;

pub use accounts::{Accounts, LoggedIn, LoginError, PasswordError};
pub use actors::{OWNERS_RIGHTS, OwnersRight, subtree_of};
pub use authenticator::{AuthError, Authenticator, Surface};
pub use authorize::{Action, Denied, Object, authorize};
pub use browser::{Browser, COOKIE};
pub use clock::Clock;
pub use initial::InitialAdmin;
pub use limiter::LoginLimiter;
pub use live::{Ended, Live, Revocations};
pub use password::Passwords;
pub use peer::SocketPeer;
pub use principal::{InvalidUserId, MAX_USER_ID_BYTES, Principal, Role, TokenId, UserId};
pub use tickets::{TICKET_LIFETIME, Tickets};
pub use token::{TokenError, Tokens};

/// `bytes` random bytes of the operating system, in hexadecimal.
pub(crate) fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0u8; bytes];
    rand::Rng::fill(&mut rand::rng(), &mut buffer[..]);
    hex::encode(buffer)
}
