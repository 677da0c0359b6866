//! The link without a wire, for a program that has a runner inside itself: the same requests, the same subscriptions, the same promises.

use super::Serving;
use super::credit::Credit;
use super::requests::{Router, patiently};
use super::subscription::{Subscription, begin};
use crate::session::Answered;
use octo_protocol::link::{EndReason, Frame, RequestBody, SUBSCRIPTION_CREDIT, Subscribe};
use octo_protocol::{Epoch, SessionId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// Frames of one subscription that may wait for whoever follows it; the rest stays in the ring and in the journal.
const QUEUE: usize = 64;

/// What is asked of the runner of this process.
pub struct Local {
    router: Router,
    serving: Serving,
}

/// A subscription of this process. Dropping it ends it.
pub struct Following {
    frames: mpsc::Receiver<Frame>,
    credit: Arc<Credit>,
    _task: AbortOnDropHandle<()>,
}

/// An answer that is on its way.
pub struct Pending(oneshot::Receiver<Answered>);

impl Local {
    /// Asks what `serving` serves.
    #[must_use]
    pub fn new(serving: &Serving) -> Self {
        Self { router: Router::new(serving.clone()), serving: serving.clone() }
    }

    /// Hands over what `actor` asks. What is handed over first reaches its session first.
    pub async fn ask(&self, body: RequestBody, actor: &str) -> Pending {
        Pending(self.router.ask(body, actor).await)
    }

    /// The events of a session after `after`, the newest first when that is absent. Begins with [`Frame::Subscribed`].
    ///
    /// # Errors
    /// Why it does not begin.
    pub fn follow(&self, session: &SessionId, epoch: Option<Epoch>, after: Option<u64>) -> Result<Following, EndReason> {
        let wanted = Subscribe { sub: 0, session: session.clone(), epoch, after, until: None, credit: SUBSCRIPTION_CREDIT };
        let entry = self.serving.registry.get(session.as_str());
        let log = begin(&wanted, entry.as_ref())?;
        let (out, frames) = mpsc::channel(QUEUE);
        let credit = Arc::new(Credit::new(wanted.credit));
        let subscription = Subscription {
            sub: wanted.sub,
            after: wanted.after,
            until: wanted.until,
            credit: Arc::clone(&credit),
            journal: self.serving.registry.shared().journal.clone(),
            log,
            out,
            counted: entry.map(|entry| entry.subscribed()),
        };
        Ok(Following { frames, credit, _task: AbortOnDropHandle::new(tokio::spawn(subscription.run())) })
    }
}

impl Pending {
    /// The answer, or that there was none within `patience`.
    pub async fn within(self, patience: Duration) -> Answered {
        patiently(patience, self.0).await
    }
}

impl Following {
    /// The next frame; `None` after the last, which is [`Frame::Ended`] unless the runner has gone. May be dropped at any await.
    pub async fn next(&mut self) -> Option<Frame> {
        let frame = self.frames.recv().await?;
        if let Frame::Event(event) = &frame {
            self.credit.add(u32::try_from(event.payload.len()).unwrap_or(u32::MAX));
        }
        Some(frame)
    }
}
