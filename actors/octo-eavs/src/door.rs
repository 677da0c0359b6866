//! A listener as a supervised actor: when it fails or panics it is bound again, while open requests go on.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use octo_actors::{Actor, Ctx, Failure, Kind};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::listener::{ListenError, Listener, Peers, Place};

/// Bound again after a failure; beyond its intensity octo-eavs ends and octo starts it again.
pub const DOOR: Kind = Kind::transient("door");

/// What a door needs, in every incarnation.
pub struct DoorSpec {
    place: Place,
    /// The listener that was bound at the start, so that what is wrong with it is said there.
    first: Mutex<Option<Listener>>,
    router: Router,
    peers: Peers,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl DoorSpec {
    /// A door at an already bound listener.
    pub fn new(listener: Listener, router: Router, peers: Peers, stop: CancellationToken, tracker: TaskTracker) -> Arc<Self> {
        Arc::new(Self { place: listener.place(), first: Mutex::new(Some(listener)), router, peers, stop, tracker })
    }

    async fn listener(&self) -> Result<Listener, ListenError> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            Some(listener) => Ok(listener),
            None => Listener::bind(&self.place).await,
        }
    }
}

/// The actor.
pub struct Door {
    spec: Arc<DoorSpec>,
}

/// What a door is told.
pub enum DoorMsg {
    /// Its accepting ended.
    Closed,
}

impl Actor for Door {
    type Msg = DoorMsg;
    type Args = Arc<DoorSpec>;

    async fn start(spec: Arc<DoorSpec>, ctx: &Ctx<DoorMsg>) -> Result<Self, Failure> {
        let listener = spec.listener().await?;
        // The end of the process waits for the socket's file to be gone as well.
        let open = spec.tracker.token();
        let serving = listener.serve(spec.router.clone(), spec.peers, spec.stop.clone(), spec.tracker.clone());
        ctx.spawn_task(async move {
            serving.await;
            drop(open);
            DoorMsg::Closed
        })?;
        Ok(Self { spec })
    }

    async fn handle(&mut self, message: DoorMsg, ctx: &Ctx<DoorMsg>) -> Result<(), Failure> {
        match message {
            DoorMsg::Closed if self.spec.stop.is_cancelled() => ctx.stop(),
            DoorMsg::Closed => return Err("the listener closed by itself".into()),
        }
        Ok(())
    }

    fn inspect(&self) -> Value {
        json!({"at": self.spec.place.to_string(), "under_way": self.spec.tracker.len(), "closing": self.spec.stop.is_cancelled()})
    }
}
