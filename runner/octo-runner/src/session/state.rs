//! What a session is doing, as clients see it.

use super::accept::Waiting;
use super::actor::Session;
use crate::agent::AgentKind;
use octo_protocol::session::RunningTool;
use octo_protocol::{Model, SessionState, SessionStatus};

/// Capabilities of a harness that this runner does not carry out.
const NOT_OFFERED: [&str; 2] = ["delegate", "delegate.cancel"];

impl Session {
    /// What `get_state` returns.
    pub fn state(&self) -> SessionState {
        let harness = self.harness.state();
        let queued: Vec<_> = self.queue.iter().map(Waiting::queued).collect();
        SessionState {
            model: harness
                .model
                .clone()
                .or_else(|| self.known_models().into_iter().find(|m| m.provider == self.row.provider && m.id == self.row.model)),
            thinking_level: if self.agent.is_ready() { harness.thinking_level } else { self.agent.plan().thinking.unwrap_or_default() },
            is_streaming: self.ledger.turn.is_some(),
            is_compacting: harness.is_compacting,
            steering_mode: harness.steering_mode,
            follow_up_mode: harness.follow_up_mode,
            session_file: harness.session_file.clone().or_else(|| self.row.resume.clone()),
            session_id: self.row.id.clone(),
            session_name: self.row.title.clone(),
            auto_compaction_enabled: harness.auto_compaction,
            message_count: self.ledger.message_count(),
            pending_message_count: (self.queue.len() + self.handed.len()) as u64,
            pending_input: self.ledger.questions.values().map(|q| q.request.clone()).collect(),
            status: self.status_now(),
            queued,
            running_tools: self
                .ledger
                .tools
                .iter()
                .map(|(id, tool)| RunningTool { tool_call_id: id.clone(), name: tool.name.clone(), partial_output: tool.partial.clone() })
                .collect(),
            turn_id: self.ledger.turn.clone(),
            cwd: Some(self.row.cwd.clone()),
            permissions: Some(self.permission_mode()),
        }
    }

    /// The session's state in one word.
    pub fn status_now(&self) -> SessionStatus {
        if !self.ledger.questions.is_empty() {
            SessionStatus::NeedsInput
        } else if self.agent.is_starting() {
            SessionStatus::Starting
        } else if self.ledger.turn.is_some() {
            SessionStatus::Working
        } else if self.failed {
            SessionStatus::Error
        } else if self.closed {
            SessionStatus::Closed
        } else {
            SessionStatus::Idle
        }
    }

    /// What this session can do.
    pub fn capabilities(&self) -> Vec<String> {
        let mut capabilities = self.harness.capabilities();
        capabilities.retain(|c| !NOT_OFFERED.contains(&c.as_str()));
        capabilities.extend(["queue.drop", "queue.replace"].map(str::to_owned));
        if capabilities.iter().any(|c| c == "permissions") {
            capabilities.push("set_permissions".to_owned());
        }
        capabilities
    }

    /// The models of the agent, or those that were provisioned while it has not said which it has.
    pub fn known_models(&self) -> Vec<Model> {
        if !self.models.is_empty() {
            return self.models.clone();
        }
        let of = |p: &octo_protocol::provision::ProvisionedProvider| {
            let (api, provider) = (p.api.clone(), p.name.clone());
            p.models
                .iter()
                .map(move |m| Model {
                    id: m.id.clone(),
                    name: m.name.clone(),
                    api: api.clone(),
                    provider: provider.clone(),
                    reasoning: m.reasoning,
                    input: m.input.clone(),
                    context_window: m.context_window,
                    max_tokens: m.max_tokens,
                    cost: m.cost.clone(),
                })
                .collect::<Vec<_>>()
        };
        let kind = AgentKind::of(&self.row.harness, &self.provision).ok();
        self.provision.providers.iter().filter(|p| kind.is_none_or(|kind| kind.speaks(p))).flat_map(of).collect()
    }
}
