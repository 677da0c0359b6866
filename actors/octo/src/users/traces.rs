//! How many traces users have of their own actors. A process has a bounded number of taps; users together get half of them, so that there are
//! always some for operators, and no user takes those of the others.

use crate::auth::UserId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Traces of one user at once.
pub const MAX_TRACES_OF_ONE: usize = 4;
/// Traces of all users together at once.
pub const MAX_TRACES_OF_USERS: usize = octo_actors::MAX_TAPS / 2;

/// Why no trace was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooManyTraces {
    #[error("{MAX_TRACES_OF_ONE} traces of yours are running already; end one first")]
    OfOne,
    #[error("the users of this server have {MAX_TRACES_OF_USERS} traces running already; try again later")]
    OfUsers,
}

/// The traces that run. Clones share.
#[derive(Debug, Clone, Default)]
pub struct OwnTraces(Arc<Mutex<HashMap<UserId, usize>>>);

/// One that runs, until it is dropped.
#[derive(Debug)]
pub struct OwnTrace {
    all: OwnTraces,
    user: UserId,
}

impl OwnTraces {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a trace of `user`.
    ///
    /// # Errors
    /// When there is none.
    pub fn begin(&self, user: &UserId) -> Result<OwnTrace, TooManyTraces> {
        let mut running = self.lock();
        if running.get(user).is_some_and(|traces| *traces >= MAX_TRACES_OF_ONE) {
            return Err(TooManyTraces::OfOne);
        }
        if running.values().sum::<usize>() >= MAX_TRACES_OF_USERS {
            return Err(TooManyTraces::OfUsers);
        }
        *running.entry(user.clone()).or_default() += 1;
        Ok(OwnTrace { all: self.clone(), user: user.clone() })
    }
}

impl Drop for OwnTrace {
    fn drop(&mut self) {
        let mut running = self.all.lock();
        if let Some(traces) = running.get_mut(&self.user) {
            *traces -= 1;
            if *traces == 0 {
                running.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_user_has_a_few_traces_and_users_together_leave_some_for_operators() {
        let (all, alice) = (OwnTraces::default(), UserId::new("alice").unwrap());
        let mut held: Vec<OwnTrace> = (0..MAX_TRACES_OF_ONE).map(|_| all.begin(&alice).unwrap()).collect();
        assert_eq!(all.begin(&alice).err(), Some(TooManyTraces::OfOne));
        held.pop();
        held.push(all.begin(&alice).unwrap());
        let others = (0..MAX_TRACES_OF_USERS).map(|n| UserId::new(format!("u{n}")).unwrap());
        let (more, refused): (Vec<_>, Vec<_>) = others.map(|user| all.begin(&user)).partition(Result::is_ok);
        held.extend(more.into_iter().flatten());
        assert_eq!(refused.len(), MAX_TRACES_OF_ONE);
        assert!(refused.iter().all(|refused| matches!(refused, Err(TooManyTraces::OfUsers))));
        assert_eq!(held.len(), MAX_TRACES_OF_USERS);
        held.clear();
        assert!(all.lock().is_empty());
    }
}
