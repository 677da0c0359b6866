//! The actor `idle`: now and then asks every session that has an actor whether it may sleep. The session decides.

use crate::options::Options;
use crate::session::{Registry, SessionMsg, Tick};
use octo_actors::{Actor, Ctx, Failure, Kind};
use serde_json::{Value, json};
use std::time::Duration;

/// Started again whatever happens.
pub const IDLE: Kind = Kind::permanent("idle").unlimited().mailbox(8).restart_stuck(Duration::from_secs(60));

/// When a session is idle.
#[derive(Debug, Clone, Copy)]
pub struct IdleArgs {
    after: Duration,
    every: Duration,
}

impl IdleArgs {
    /// `None` when nobody is to sleep.
    #[must_use]
    pub fn of(options: &Options) -> Option<Self> {
        let after = options.idle_after_secs.map(Duration::from_secs)?;
        Some(Self { after, every: Duration::from_secs(options.idle_check_secs) })
    }
}

/// What it is told.
pub enum IdleMsg {
    Look,
}

/// Looks around.
pub struct Idle {
    registry: Registry,
    args: IdleArgs,
    asked: usize,
}

impl Actor for Idle {
    type Msg = IdleMsg;
    type Args = (Registry, IdleArgs);

    async fn start((registry, args): Self::Args, ctx: &Ctx<IdleMsg>) -> Result<Self, Failure> {
        ctx.tell_every(args.every, || IdleMsg::Look)?;
        Ok(Self { registry, args, asked: 0 })
    }

    async fn handle(&mut self, IdleMsg::Look: IdleMsg, _: &Ctx<IdleMsg>) -> Result<(), Failure> {
        // One that is too busy to be told is not idle.
        self.asked =
            self.registry.all().iter().filter_map(|e| e.address()).filter(|a| a.tell(SessionMsg::Tick(Tick::Idle)).is_ok()).count();
        Ok(())
    }

    fn inspect(&self) -> Value {
        json!({ "after_s": self.args.after.as_secs(), "every_s": self.args.every.as_secs(), "sessions_with_an_actor": self.asked })
    }
}
