//! The actor `runner`: the supervised link to one user's runner.
//!
//! An incarnation is one link. Its start finds the runner (or has it started) and shakes hands; its failure is the loss of the link,
//! and the next incarnation comes after a back-off.

use super::user::{Reached, Shared};
use crate::launch::{Launch, LaunchError};
use crate::link::{self, ConnectError, Dial, HANDSHAKE_WITHIN, Link, Target};
use crate::telemetry::{self, Telemetry};
use octo_actors::{Actor, Ctx, Failure, Kind};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Starting a runner may take its time; back-off from 0.1 s to 30 s, with jitter, for as long as it takes.
pub(crate) const KIND: Kind =
    Kind::permanent("runner").unlimited().mailbox(16).stuck_after(Duration::from_secs(60)).restart_stuck(Duration::from_secs(180));

/// How runners are reached.
#[derive(Clone)]
pub(super) struct Way {
    pub launch: Launch,
    /// In place of what `launch` finds or starts.
    pub dial: Option<Arc<dyn Dial>>,
    /// Gets what the runner has recorded.
    pub telemetry: Telemetry,
    /// Names this control plane.
    pub instance: String,
}

pub(super) struct Runner {
    link: Link,
    up: Up,
}

pub(super) enum Msg {
    /// The link is lost: why.
    Lost(String),
}

/// The link as others see it, for as long as this incarnation lives.
struct Up(Arc<Shared>);

impl Drop for Up {
    fn drop(&mut self) {
        // Whoever ended it by force gave no reason.
        self.0.lost("the link to the runner was lost".into());
    }
}

impl Actor for Runner {
    type Msg = Msg;
    type Args = (Arc<Shared>, Way);

    async fn start((shared, way): Self::Args, ctx: &Ctx<Msg>) -> Result<Self, Failure> {
        let (link, driver) = match reach(&shared, &way).await {
            Ok(reached) => reached,
            Err(error) => {
                let reason = error.to_string().into();
                shared.reach(if error.is_lasting() { shared.failed(reason) } else { Reached::Down(reason) });
                return Err(error.into());
            }
        };
        ctx.spawn_task(async move { Msg::Lost(driver.run().await) })?;
        if way.telemetry.is_on() {
            ctx.spawn_quiet(telemetry::of_runner(way.telemetry.clone(), link.clone(), shared.id().clone()))?;
        }
        let welcome = link.welcome();
        tracing::info!(user = %shared.id(), runner = welcome.runner_id, pid = welcome.pid, software = welcome.software, "runner linked");
        shared.reach(Reached::Up(link.clone()));
        Ok(Self { link, up: Up(shared) })
    }

    async fn handle(&mut self, Msg::Lost(reason): Msg, _: &Ctx<Msg>) -> Result<(), Failure> {
        self.up.0.lost(reason.as_str().into());
        Err(reason.into())
    }

    fn inspect(&self) -> Value {
        let (pending, subscriptions) = self.link.load();
        let welcome = self.link.welcome();
        json!({
            "runner_id": welcome.runner_id, "pid": welcome.pid, "software": welcome.software, "version": welcome.version,
            "started_at": welcome.started_at, "pending": pending, "subscriptions": subscriptions,
        })
    }
}

/// Why there is no link to the runner.
#[derive(Debug, thiserror::Error)]
enum Unreached {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Unreached {
    /// The next attempt would end the same way: whoever waits is told at once. The others are what a runner that comes or goes looks like.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Launch(error) => !matches!(error, LaunchError::Ended { held: true, .. }),
            Self::Connect(error) => {
                matches!(error, ConnectError::WrongOwner { .. } | ConnectError::WrongUser { .. } | ConnectError::Version { .. })
            }
        }
    }
}

async fn reach(shared: &Shared, way: &Way) -> Result<(Link, link::Driver), Unreached> {
    let target = |socket, uid| Target { socket, uid, user: shared.id().to_string(), instance: way.instance.clone() };
    let Some(dial) = &way.dial else {
        let endpoint = way.launch.ensure_runner(shared.id()).await?;
        return Ok(link::connect(&target(endpoint.socket, endpoint.uid), shared.listed().clone()).await?);
    };
    let target = target("the program's own runner".into(), crate::paths::own_uid());
    let dialled = tokio::time::timeout(HANDSHAKE_WITHIN, dial.dial(shared.id())).await;
    let dialled = dialled.map_err(|_| ConnectError::Timeout { user: target.user.clone() })?;
    let unreachable = |error| ConnectError::Unreachable { user: target.user.clone(), socket: target.socket.clone(), error };
    let (from, to) = dialled.map_err(unreachable)?;
    Ok(link::over(from, to, &target, shared.listed().clone()).await?)
}
