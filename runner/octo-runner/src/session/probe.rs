//! Whether a ready agent still answers: asked now and then; people are told when it does not, and by policy (`--restart-silent-secs`) it is ended and
//! started again.

use super::actor::Session;
use super::{SessionMsg, Tick};
use crate::clock::now_ms;
use octo_actors::{Ctx, Failure};
use octo_protocol::event::{Event, Level};
use std::time::Duration;
use tokio::time::Instant;

/// How often a ready agent is asked.
const PROBE_INTERVAL: Duration = Duration::from_secs(20);
/// The same where a silent agent is ended after a time that is not much longer.
const PROBES_IN_PATIENCE: u32 = 4;
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
    /// Its agent was ended for it.
    ended: bool,
}

impl Probe {
    /// What went before does not count: the patience begins now.
    pub fn asked_anew(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.at = Instant::now();
        }
    }

    /// For how long the agent has left the question that is out unanswered.
    pub fn unanswered(&self) -> Option<Duration> {
        self.asked.as_ref().map(|asked| asked.at.elapsed())
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
    fn probe_interval(&self) -> Duration {
        let patience = self.shared.options.restart_silent_secs.map(Duration::from_secs);
        patience.map_or(PROBE_INTERVAL, |patience| PROBE_INTERVAL.min(patience / PROBES_IN_PATIENCE))
    }

    /// The agent became ready: it is asked from now on.
    pub fn begin_probes(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        self.probe.asked = None;
        if !std::mem::replace(&mut self.probe.ticking, true) {
            ctx.tell_after(self.probe_interval(), SessionMsg::Tick(Tick::Probe))?;
        }
        Ok(())
    }

    /// Asks, or says that the last question has no answer. Rests when there is no agent to ask.
    pub async fn probe(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if !self.agent.is_ready() {
            self.probe = Probe::default();
            return Ok(());
        }
        ctx.tell_after(self.probe_interval(), SessionMsg::Tick(Tick::Probe))?;
        match &mut self.probe.asked {
            // While the journal takes no writes the agent is not read, and cannot be heard.
            Some(_) if self.ledger.is_stalled() => Ok(()),
            Some(asked) => {
                let silent = asked.at.elapsed();
                if !asked.told && silent >= PROBE_PATIENCE {
                    asked.told = true;
                    let message =
                        "the agent has not answered for a minute, though its process runs; abort, or restart the session".to_owned();
                    self.ledger.push(Event::Notify { level: Level::Warning, message })?;
                }
                if let Some(patience) = self.shared.options.restart_silent_secs.map(Duration::from_secs)
                    && silent >= patience
                    && !std::mem::replace(&mut asked.ended, true)
                {
                    let cause = format!("the agent did not answer for {} s, though its process ran, and was ended", silent.as_secs());
                    self.end_agent(cause);
                }
                Ok(())
            }
            None => {
                let token = self.token();
                self.probe.asked = Some(Asked { token, at: Instant::now(), told: false, ended: false });
                self.harness.probe(token, now_ms(), &mut self.outbox);
                self.outputs(ctx).await
            }
        }
    }
}
