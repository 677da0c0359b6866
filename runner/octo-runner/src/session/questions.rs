//! Questions have their time: one that nobody answers within the policy's `timeout_ms` answers itself, a permission as the policy says, any other by being
//! dismissed, so that no agent waits for ever for somebody who went home.

use super::actor::Session;
use super::{SessionMsg, Tick};
use crate::clock::now_ms;
use octo_actors::{Ctx, Failure};
use octo_protocol::InputRequest;
use octo_protocol::event::Event;
use std::time::Duration;

impl Session {
    /// When what is asked now has had its time, in Unix milliseconds.
    pub(super) fn expiry(&self, now: i64) -> Option<i64> {
        self.shared.policy.timeout_ms.map(|ms| now.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// A question that is no permission. It says how long it stays, unless the agent itself gives it a time, which is the agent's to keep.
    pub(super) fn question_asked(&mut self, request: InputRequest, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let expires = self.expiry(now_ms());
        let request_id = request.request_id().to_owned();
        let request = self.shared.policy.timeout_ms.map_or(request.clone(), |ms| timed(request, ms));
        self.ledger.push(Event::AgentInputNeeded { request })?;
        if let Some(question) = self.ledger.questions.get_mut(&request_id) {
            question.expires = expires;
        }
        self.time_questions(ctx)
    }

    /// Questions whose time is over answer themselves.
    pub async fn questions_due(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        self.permissions.looks_at = None;
        let now = now_ms();
        let (mut permissions, mut others) = (Vec::new(), Vec::new());
        for (id, question) in &self.ledger.questions {
            match &question.asked {
                Some(asked) => permissions.extend(asked.expires.filter(|(at, _)| *at <= now).map(|(_, mode)| (asked.clone(), mode))),
                None => others.extend(question.expires.filter(|at| *at <= now).map(|_| id.clone())),
            }
        }
        // Once is enough, whatever the agent makes of it.
        for (asked, mode) in permissions {
            if let Some(open) = self.ledger.questions.get_mut(&asked.request_id).and_then(|question| question.asked.as_mut()) {
                open.expires = None;
            }
            self.permission_expired(&asked, mode)?;
        }
        for id in others {
            if let Some(question) = self.ledger.questions.get_mut(&id) {
                question.expires = None;
            }
            self.question_expired(&id);
        }
        self.outputs(ctx).await?;
        self.time_questions(ctx)
    }

    /// Sees to it that the clock is looked at when the next question's time is over.
    pub fn time_questions(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let expiries = self.ledger.questions.values();
        let expiries =
            expiries.filter_map(|question| question.asked.as_ref().map_or(question.expires, |asked| asked.expires.map(|(at, _)| at)));
        let Some(next) = expiries.min() else { return Ok(()) };
        if self.permissions.looks_at.is_none_or(|at| next < at) {
            self.permissions.looks_at = Some(next);
            let wait = u64::try_from(next.saturating_sub(now_ms())).unwrap_or(0);
            ctx.tell_after(Duration::from_millis(wait), SessionMsg::Tick(Tick::Questions))?;
        }
        Ok(())
    }
}

/// The question with the time that it has, where it has none of its own.
fn timed(mut request: InputRequest, ms: u64) -> InputRequest {
    match &mut request {
        InputRequest::Select { timeout, .. } | InputRequest::Confirm { timeout, .. } | InputRequest::Input { timeout, .. } => {
            timeout.get_or_insert(ms);
        }
        InputRequest::Permission { .. } | InputRequest::Editor { .. } => {}
    }
    request
}
