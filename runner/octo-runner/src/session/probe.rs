//! Whether a ready agent still answers: asked now and then, told when it does not, and never ended for it.

use super::actor::Session;
use super::{SessionMsg, Tick};
use crate::clock::now_ms;
use octo_actors::{Ctx, Failure};
use octo_protocol::event::{Event, Level};
use std::time::Duration;
use tokio::time::Instant;

/// How often a ready agent is asked.
const PROBE_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may be silent until people are told.
const PROBE_PATIENCE: Duration = Duration::from_secs(60);

/// The question that is out, if one is. One at a time, so that an agent that hangs does not find a heap of them.
#[derive(Debug, Default)]
pub struct Probe {
    ticking: bool,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    token: u64,
    at: Instant,
    told: bool,
}

impl Probe {
    /// What went before does not count: the patience begins now.
    pub fn asked_anew(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.at = Instant::now();
        }
    }

    /// A token's answer came. True when it was the probe's.
    pub fn answered(&mut self, token: u64) -> bool {
        let ours = self.asked.as_ref().is_some_and(|asked| asked.token == token);
        if ours {
            self.asked = None;
        }
        ours
    }
}

impl Session {
    /// The agent became ready: it is asked from now on.
    pub fn begin_probes(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        self.probe.asked = None;
        if !std::mem::replace(&mut self.probe.ticking, true) {
            ctx.tell_after(PROBE_INTERVAL, SessionMsg::Tick(Tick::Probe))?;
        }
        Ok(())
    }

    /// Asks, or says that the last question has no answer. Rests when there is no agent to ask.
    pub async fn probe(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if !self.agent.is_ready() {
            self.probe = Probe::default();
            return Ok(());
        }
        ctx.tell_after(PROBE_INTERVAL, SessionMsg::Tick(Tick::Probe))?;
        match &mut self.probe.asked {
            Some(asked) => {
                // While the journal takes no writes the agent is not read, and cannot be heard.
                if !asked.told && asked.at.elapsed() >= PROBE_PATIENCE && !self.ledger.is_stalled() {
                    asked.told = true;
                    let message =
                        "the agent has not answered for a minute, though its process runs; abort, or restart the session".to_owned();
                    self.ledger.push(Event::Notify { level: Level::Warning, message })?;
                }
                Ok(())
            }
            None => {
                let token = self.token();
                self.probe.asked = Some(Asked { token, at: Instant::now(), told: false });
                self.harness.probe(token, now_ms(), &mut self.outbox);
                self.outputs(ctx).await
            }
        }
    }
}
