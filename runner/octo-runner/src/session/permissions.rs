//! Permissions of this session's agent: each is decided, or becomes a question to a person, before anybody sees it.
//!
//! A harness says what it always says, `agent.input_needed` with a permission. A rule or the policy that decides it answers the harness at once, and no client
//! hears of a question. Else the question is shown with what octo offers to remember, and the first answer counts; one that nobody gives in time is given by
//! the clock.

use super::actor::Session;
use super::{Answer, SessionMsg, json, nothing, refuse};
use crate::clock::now_ms;
use crate::journal::{Change, RuleChange};
use crate::permissions::{Asked, Choice, Decision, decide, for_harness};
use octo_actors::{Ctx, Failure};
use octo_protocol::event::Event;
use octo_protocol::permission::DecidedBy;
use octo_protocol::{Command, InputAnswer, InputRequest, PermissionMode, PermissionRule};
use serde_json::{Value, json as value};
use std::collections::HashMap;

/// How the question ends that is being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nobody has seen it.
    Unseen,
    /// What `agent.input_resolved` says of it.
    By(&'static str),
}

/// The permissions under way.
#[derive(Debug, Default)]
pub struct Permissions {
    /// Questions that the harness has its answer for, until it says that they are resolved.
    ending: HashMap<String, Ending>,
    /// When the clock is looked at next, in Unix milliseconds.
    pub(super) looks_at: Option<i64>,
}

impl Session {
    /// What becomes of tool calls of which nothing else is said.
    pub fn permission_mode(&self) -> PermissionMode {
        let of_the_agent = if self.harness.asks_for_every_call() { PermissionMode::Allow } else { PermissionMode::Ask };
        let of_the_harness = self.provision.harness_named(&self.row.harness).and_then(|harness| harness.permissions);
        let of_the_session = self.row.permissions.or(self.row.config.permissions);
        of_the_session.or(of_the_harness).or(self.shared.policy.default).unwrap_or(of_the_agent)
    }

    fn decision(&self, asked: &Asked, now: i64) -> Decision {
        decide(&self.shared.policy, self.permission_mode(), &self.shared.rules.all(), asked, &self.row.cwd, now)
    }

    /// Takes an event of the harness about a question. `None` when nobody else is to see it.
    pub fn of_permissions(&mut self, event: Event, ctx: &Ctx<SessionMsg>) -> Result<Option<Event>, Failure> {
        match event {
            Event::AgentInputNeeded { request } => match Asked::of(&request) {
                Some(asked) => self.permission_asked(request, asked, ctx).map(|()| None),
                None => self.question_asked(request, ctx).map(|()| None),
            },
            Event::AgentInputResolved { request_id, by } => Ok(match self.permissions.ending.remove(&request_id) {
                Some(Ending::Unseen) => None,
                Some(Ending::By(by)) => Some(Event::AgentInputResolved { request_id, by: Some(by.to_owned()) }),
                None => Some(Event::AgentInputResolved { request_id, by }),
            }),
            other => Ok(Some(other)),
        }
    }

    fn permission_asked(&mut self, request: InputRequest, mut asked: Asked, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let now = now_ms();
        let decision = self.decision(&asked, now);
        if let Some(rule) = &decision.rule {
            self.rule_used(rule, now);
        }
        if decision.mode != PermissionMode::Ask {
            self.tell_decision(&asked, &decision)?;
            self.conclude(&asked, decision.mode == PermissionMode::Allow, Ending::Unseen, reason_of(&decision));
            return Ok(());
        }
        // What only a person may allow is not allowed by the clock.
        let on_timeout = if asked.needs_person { PermissionMode::Deny } else { self.shared.policy.on_timeout };
        asked.expires = self.expiry(now).map(|at| (at, on_timeout));
        self.ledger.push(Event::AgentInputNeeded { request: shown(request, &asked) })?;
        if let Some(question) = self.ledger.questions.get_mut(&asked.request_id) {
            question.asked = Some(asked);
        }
        self.time_questions(ctx)
    }

    fn rule_used(&mut self, id: &str, at: i64) {
        self.shared.rules.used(id, at);
        self.ledger.change(Change::Rule(RuleChange::Use { id: id.to_owned(), at }));
    }

    /// Says what was decided without a person. That the policy lets everything run is no news at every call.
    fn tell_decision(&mut self, asked: &Asked, decision: &Decision) -> Result<(), Failure> {
        let allowed = decision.mode == PermissionMode::Allow;
        let by = if decision.rule.is_some() { DecidedBy::Rule } else { DecidedBy::Policy };
        if by == DecidedBy::Rule || !allowed {
            self.ledger.push(decided(asked, allowed, by, decision.rule.clone()))?;
        }
        Ok(())
    }

    /// Gives the harness its answer; what it writes is in the outbox then.
    fn conclude(&mut self, asked: &Asked, allowed: bool, ending: Ending, reason: Option<String>) {
        self.permissions.ending.insert(asked.request_id.clone(), ending);
        let answer = for_harness(asked, allowed, reason);
        let (token, request_id) = (self.token(), asked.request_id.clone());
        self.harness.command(token, &Command::InputResponse { request_id, answer }, now_ms(), &mut self.outbox);
    }

    /// A person's answer to an open permission; `None` when it is to none, and the answer is given back.
    pub async fn permission_answered(
        &mut self,
        request_id: &str,
        answer: &InputAnswer,
        actor: &str,
        reply: Answer,
        ctx: &Ctx<SessionMsg>,
    ) -> Result<Option<Answer>, Failure> {
        let asked = self.ledger.questions.get(request_id).and_then(|question| question.asked.clone());
        let Some(asked) = asked.filter(|asked| !asked.needs_person && self.agent.is_ready()) else { return Ok(Some(reply)) };
        let made = Choice::of(answer, &asked).and_then(|choice| {
            let new = choice.rule(&asked, &self.row.cwd);
            let rule = new.map(|new| self.shared.rules.make(new, actor, Some(&self.row.id), now_ms())).transpose()?;
            Ok((choice, rule))
        });
        let (choice, rule) = match made {
            Ok(made) => made,
            Err(error) => {
                refuse(reply, error);
                return Ok(None);
            }
        };
        let event = decided(&asked, choice.allows(), DecidedBy::User, rule.as_ref().map(|rule| rule.id.clone()));
        if let Err(error) = self.ledger.write_now(vec![event], rule.iter().map(remembered).collect()).await? {
            refuse(reply, error);
            return Ok(None);
        }
        let reason = answer.value.clone().filter(|said| !said.trim().is_empty());
        let reason = Some(reason.map_or_else(|| "Denied by the user".to_owned(), |said| format!("Denied by the user: {said}")));
        self.conclude(&asked, choice.allows(), Ending::By("user"), reason);
        self.outputs(ctx).await?;
        let _ = reply.send(nothing());
        if let Some(rule) = rule {
            self.shared.rules.added(rule);
            self.decide_open(ctx).await?;
            self.registry.rules_changed(&self.row.id);
        }
        Ok(None)
    }

    /// The session's own word for tool calls, from now on.
    pub async fn set_permissions(&mut self, mode: PermissionMode, reply: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let (event, change) = (Event::PermissionsChanged { mode }, Change::Permissions(mode));
        if let Err(error) = self.ledger.write_now(vec![event], vec![change]).await? {
            refuse(reply, error);
            return Ok(());
        }
        self.row.permissions = Some(mode);
        let _ = reply.send(json(&value!({ "mode": mode })));
        self.decide_open(ctx).await
    }

    /// Something else is said of tool calls now: what it decides is no question any more.
    pub(super) async fn decide_open(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let now = now_ms();
        let open: Vec<Asked> = self.ledger.questions.values().filter_map(|question| question.asked.clone()).collect();
        for asked in open {
            let decision = self.decision(&asked, now);
            if decision.mode == PermissionMode::Ask {
                continue;
            }
            let by = if let Some(rule) = &decision.rule {
                self.rule_used(rule, now);
                DecidedBy::Rule
            } else {
                DecidedBy::Policy
            };
            let allowed = decision.mode == PermissionMode::Allow;
            self.ledger.push(decided(&asked, allowed, by, decision.rule.clone()))?;
            self.conclude(&asked, allowed, Ending::By(if by == DecidedBy::Rule { "rule" } else { "policy" }), reason_of(&decision));
        }
        self.outputs(ctx).await
    }

    /// A permission that has had its time.
    pub(super) fn permission_expired(&mut self, asked: &Asked, mode: PermissionMode) -> Result<(), Failure> {
        let allowed = mode == PermissionMode::Allow;
        self.ledger.push(decided(asked, allowed, DecidedBy::Timeout, None))?;
        self.conclude(asked, allowed, Ending::By("timeout"), Some("Nobody answered in time".to_owned()));
        Ok(())
    }

    /// A question that has had its time, and is dismissed.
    pub(super) fn question_expired(&mut self, request_id: &str) {
        self.permissions.ending.insert(request_id.to_owned(), Ending::By("timeout"));
        let answer = InputAnswer { cancelled: Some(true), ..InputAnswer::default() };
        let (token, request_id) = (self.token(), request_id.to_owned());
        self.harness.command(token, &Command::InputResponse { request_id, answer }, now_ms(), &mut self.outbox);
    }
}

fn remembered(rule: &PermissionRule) -> Change {
    Change::Rule(RuleChange::Add(Box::new(rule.clone())))
}

/// What the agent is told of a denial that no person gave.
fn reason_of(decision: &Decision) -> Option<String> {
    let by = if decision.rule.is_some() { "a rule that the user has set" } else { "the policy of this session" };
    Some(format!("Denied by {by}"))
}

fn decided(asked: &Asked, allowed: bool, by: DecidedBy, rule_id: Option<String>) -> Event {
    Event::PermissionDecided {
        request_id: asked.request_id.clone(),
        allowed,
        by,
        tool: asked.tool.clone(),
        subject: asked.subject.clone(),
        tool_call_id: asked.tool_call_id.clone(),
        rule_id,
    }
}

/// The question as people see it: with octo's own options, and when it answers itself, and how.
fn shown(request: InputRequest, asked: &Asked) -> InputRequest {
    let InputRequest::Permission { request_id, title, description, mut metadata, options } = request else { return request };
    if let Some((at, mode)) = asked.expires {
        let members = metadata.get_or_insert_with(|| value!({}));
        if let Value::Object(members) = members {
            members.insert("expires_at".to_owned(), at.into());
            members.insert("on_timeout".to_owned(), mode.as_str().into());
        }
    }
    InputRequest::Permission { request_id, title, description, metadata, options: Choice::options(asked).or(options) }
}
