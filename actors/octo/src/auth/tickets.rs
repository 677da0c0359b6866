//! Tickets: one WebSocket upgrade within thirty seconds, so that no token need stand in a URL.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::clock::Clock;
use super::principal::Principal;

/// How long a ticket may be used.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);
/// Unused tickets of one user; one more drops that user's oldest.
const MAX_PER_USER: usize = 16;
/// Unused tickets of all users; one more drops the oldest.
const MAX_TICKETS: usize = 10_000;

/// Tickets that were given out and not used yet.
pub struct Tickets {
    clock: Clock,
    open: Mutex<VecDeque<Ticket>>,
}

struct Ticket {
    digest: [u8; 32],
    principal: Principal,
    until: SystemTime,
}

impl Tickets {
    /// None yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, open: Mutex::default() }
    }

    /// A ticket for the rights of `principal`.
    #[must_use]
    pub fn issue(&self, principal: &Principal) -> String {
        let ticket = super::random_hex(24);
        let now = self.clock.now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|t| t.until > now);
        if open.iter().filter(|t| t.principal.user_id == principal.user_id).count() >= MAX_PER_USER
            && let Some(oldest) = open.iter().position(|t| t.principal.user_id == principal.user_id)
        {
            open.remove(oldest);
        }
        if open.len() >= MAX_TICKETS {
            open.pop_front();
        }
        open.push_back(Ticket { digest: digest(&ticket), principal: principal.clone(), until: now + TICKET_LIFETIME });
        ticket
    }

    /// Uses a ticket up.
    #[must_use]
    pub fn redeem(&self, ticket: &str) -> Option<Principal> {
        let digest = digest(ticket);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|t| t.digest == digest)?;
        let ticket = open.remove(at)?;
        (ticket.until > self.clock.now()).then_some(ticket.principal)
    }
}

/// Looked up by digest, so that nothing compares secrets byte by byte.
fn digest(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket.as_bytes()).into()
}
