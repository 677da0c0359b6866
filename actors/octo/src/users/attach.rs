//! Attaching to a session: many who ask at once share one question to its runner, and one who finds it busy waits a moment.
//!
//! After a restart everybody comes back at once, thousands to one session. What the runner says of a session is the same for all of them.

use super::user::User;
use crate::auth::{Principal, UserId};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use octo_protocol::link::RequestBody;
use octo_protocol::{ErrorCode, ProtocolError, SessionId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The wait before a runner that has too much to do is asked again, and what is added to it by chance.
const AGAIN: Duration = Duration::from_millis(20);
const AGAIN_JITTER_MS: u64 = 60;

/// Questions that are kept before those that are over are looked for.
const TIDY_AT: usize = 64;

type Answer = Result<Vec<u8>, ProtocolError>;
type Question = BoxFuture<'static, Answer>;

/// Questions under way, by who asks and what for. Each is owned by those who wait for it.
#[derive(Default)]
pub(super) struct Attaching(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    questions: HashMap<(UserId, SessionId), WeakShared<Question>>,
    /// With so many, those that are over are looked for.
    tidy_at: usize,
}

impl Attaching {
    /// The question that is under way, or a new one.
    fn join(&self, asker: &UserId, session: &SessionId, ask: impl FnOnce() -> Question) -> (Shared<Question>, bool) {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (asker.clone(), session.clone());
        let found = under_way.questions.get(&key).and_then(WeakShared::upgrade);
        if let Some(question) = found.filter(|question| question.peek().is_none()) {
            return (question, false);
        }
        let question = ask().shared();
        if under_way.questions.len() >= under_way.tidy_at {
            under_way.questions.retain(|_, question| question.upgrade().is_some_and(|question| question.peek().is_none()));
            under_way.tidy_at = TIDY_AT.max(2 * under_way.questions.len());
        }
        if let Some(weak) = question.downgrade() {
            under_way.questions.insert(key, weak);
        }
        (question, true)
    }

    /// Lets go of a question that is over. Another one that was begun meanwhile stays.
    fn forget(&self, asker: &UserId, session: &SessionId) {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (asker.clone(), session.clone());
        let over = |question: &WeakShared<Question>| question.upgrade().is_none_or(|question| question.peek().is_some());
        if under_way.questions.get(&key).is_some_and(over) {
            under_way.questions.remove(&key);
        }
    }
}

impl User {
    /// Asks the runner what `session` is for one who attaches to it. `frame` is the command, without `id` and cursor.
    ///
    /// # Errors
    /// The runner's refusal, `runner_unavailable`, `timeout`; `busy` when it stays busy until the deadline.
    pub async fn attaching(
        &self,
        principal: &Principal,
        session: &SessionId,
        frame: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, ProtocolError> {
        let ask = || {
            let (user, principal, frame) = (self.clone(), principal.clone(), frame.to_vec());
            async move { patiently(&user, &principal, &frame, deadline).await }.boxed()
        };
        let join = || self.attachments().join(&principal.user_id, session, ask);
        let (question, own) = join();
        let answer = question.await;
        self.attachments().forget(&principal.user_id, session);
        match answer {
            // It was asked before this one came: whatever this client did since may have made it another answer. Again one question for all of
            // them, so that a runner that is slow after a restart is not asked once for each.
            Err(_) if !own => join().0.await,
            answer => answer,
        }
    }
}

async fn patiently(user: &User, principal: &Principal, frame: &[u8], deadline: Duration) -> Answer {
    let until = Instant::now() + deadline;
    loop {
        let body = RequestBody::Command { json: frame.to_vec() };
        let left = until.saturating_duration_since(Instant::now());
        match user.request(principal, body, left).await {
            Err(refused) if refused.code == ErrorCode::Busy && !left.is_zero() => {
                let wait = AGAIN + Duration::from_millis(rand::random_range(0..AGAIN_JITTER_MS));
                tokio::time::sleep(wait).await;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_question_and_those_who_come_later_ask_anew() {
        let (attaching, asked) = (Arc::new(Attaching::default()), Arc::new(AtomicU32::new(0)));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let (alice, bob): (UserId, UserId) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let session = SessionId::new("s").unwrap();
        let ask = |who: &UserId| {
            let (asked, gate) = (Arc::clone(&asked), Arc::clone(&gate));
            let ask = move || {
                async move {
                    asked.fetch_add(1, SeqCst);
                    let _ = gate.acquire().await.unwrap();
                    Ok(Vec::new())
                }
                .boxed()
            };
            attaching.join(who, &session, ask).0
        };
        let waiting: Vec<_> = (0..1000).map(|_| tokio::spawn(ask(&alice))).collect();
        let other = tokio::spawn(ask(&bob));
        tokio::task::yield_now().await;
        gate.add_permits(1);
        for waiting in waiting {
            waiting.await.unwrap().unwrap();
        }
        other.await.unwrap().unwrap();
        assert_eq!(asked.load(SeqCst), 2, "one for alice, one for bob");
        ask(&alice).await.unwrap();
        assert_eq!(asked.load(SeqCst), 3);
        drop(ask(&alice));
        ask(&alice).await.unwrap();
        for n in 0..1000 {
            let session = SessionId::new(format!("s{n}")).unwrap();
            drop(attaching.join(&alice, &session, || async { Ok(Vec::new()) }.boxed()));
        }
        assert!(attaching.0.lock().unwrap().questions.len() <= TIDY_AT, "what is over is forgotten");
    }
}
