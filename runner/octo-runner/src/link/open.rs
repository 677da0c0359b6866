//! What an operator has opened on one connection and asks again and again: it lapses when nobody does.

use crate::session::Answered;
use octo_protocol::admin::TRACE_LAPSES_AFTER;
use octo_protocol::{ErrorCode, ProtocolError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Open ones of one kind and one connection; one more is `limit_exceeded`.
const MAX_OPEN: usize = 16;

/// The open ones, by their numbers. Dropped with its connection.
pub(super) struct Open<T>(Arc<Shared<T>>);

struct Shared<T> {
    slots: Mutex<HashMap<u64, Slot<T>>>,
    numbers: AtomicU64,
}

struct Slot<T> {
    /// Absent while somebody waits for it.
    held: Option<T>,
    /// When it was asked last.
    asked: Instant,
}

impl<T> Clone for Open<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Open<T> {
    fn default() -> Self {
        Self(Arc::new(Shared { slots: Mutex::default(), numbers: AtomicU64::new(0) }))
    }
}

impl<T: Send + 'static> Open<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Slot<T>>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more may be opened.
    ///
    /// # Errors
    /// `limit_exceeded`.
    pub fn has_room(&self) -> Result<(), ProtocolError> {
        if self.lock().len() < MAX_OPEN {
            return Ok(());
        }
        let message = format!("{MAX_OPEN} of these are open at this runner already; end one first");
        Err(ProtocolError::new(ErrorCode::LimitExceeded, message))
    }

    /// Keeps it until it is closed, lapses, or the connection ends.
    pub fn add(&self, held: T) -> u64 {
        let number = self.0.numbers.fetch_add(1, Relaxed) + 1;
        self.lock().insert(number, Slot { held: Some(held), asked: Instant::now() });
        let open = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TRACE_LAPSES_AFTER).await;
                let Some(open) = open.upgrade().map(Open) else { return };
                let mut slots = open.lock();
                let Some(slot) = slots.get(&number) else { return };
                if slot.held.is_some() && slot.asked.elapsed() >= TRACE_LAPSES_AFTER {
                    slots.remove(&number);
                    return;
                }
            }
        });
        number
    }

    pub fn close(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// Asks number `number`; `ask` gives it back with the answer.
    pub async fn ask(&self, number: u64, ask: impl AsyncFnOnce(&mut T) -> Answered) -> Answered {
        let mut held = match self.lock().get_mut(&number).map(|slot| slot.held.take()) {
            None => return Err(ProtocolError::new(ErrorCode::InvalidState, "this is over; begin another one")),
            Some(None) => return Err(ProtocolError::new(ErrorCode::Busy, "this is being waited for already")),
            Some(Some(held)) => held,
        };
        let answer = ask(&mut held).await;
        // Closed meanwhile, it ends here.
        if let Some(slot) = self.lock().get_mut(&number) {
            *slot = Slot { held: Some(held), asked: Instant::now() };
        }
        answer
    }
}
