//! The answers to pi's commands.

use super::conversation::Conversation;
use super::{Agent, Stage};
use serde_json::{Value, json};

impl<S: Stage> Agent<S> {
    /// Does what one line of stdin says, and answers it; an abort of a run is answered when the run is over.
    pub fn obey(&mut self, command: &Value) {
        let kind = command["type"].as_str().unwrap_or_default();
        let message = || command["message"].as_str().unwrap_or_default().to_owned();
        let answer = match kind {
            "prompt" if !self.running && self.next.is_none() => {
                self.next = Some(message());
                Ok(Value::Null)
            }
            "prompt" => match command["streamingBehavior"].as_str() {
                Some("steer") => self.queue(true, message()),
                Some(_) => self.queue(false, message()),
                None => {
                    Err("Agent is already processing. Specify streamingBehavior ('steer' or 'followUp') to queue the message.".to_owned())
                }
            },
            "steer" => self.queue(true, message()),
            "follow_up" => self.queue(false, message()),
            "abort" => {
                if self.running || self.next.is_some() {
                    return self.aborts.push(command["id"].clone());
                }
                Ok(Value::Null)
            }
            "clear_queue" => {
                let cleared = json!({"steering": self.steering, "followUp": self.follow_up});
                self.steering.clear();
                self.follow_up.clear();
                self.show_queue();
                Ok(cleared)
            }
            "get_state" => Ok(self.state()),
            "get_available_models" => Ok(json!({"models": [self.conversation.model()]})),
            "get_session_stats" => Ok(self.stats()),
            "get_commands" => Ok(json!({"commands": []})),
            "get_fork_messages" | "get_messages" => Ok(json!({"messages": []})),
            "set_model" => {
                let Conversation { provider, model, .. } = &self.conversation;
                let known = command["provider"] == provider.as_str() && command["modelId"] == model.as_str();
                let named = format!(
                    "Model not found: {}/{}",
                    command["provider"].as_str().unwrap_or("?"),
                    command["modelId"].as_str().unwrap_or("?")
                );
                if known { Ok(self.conversation.model()) } else { Err(named) }
            }
            "set_thinking_level" => {
                command["level"].as_str().unwrap_or("off").clone_into(&mut self.thinking_level);
                self.out.event("thinking_level_changed", json!({"level": self.thinking_level}));
                Ok(Value::Null)
            }
            "set_auto_compaction" => {
                self.auto_compaction = command["enabled"] == true;
                Ok(Value::Null)
            }
            "compact" => Err("Nothing to compact (session too small)".to_owned()),
            "set_session_name" => {
                self.conversation.name = command["name"].as_str().map(str::to_owned);
                self.out.event("session_info_changed", json!({"name": self.conversation.name}));
                Ok(Value::Null)
            }
            "new_session" => {
                let dir = self.conversation.path.as_ref().and_then(|path| Some(path.parent()?.display().to_string()));
                let model = format!("{}/{}", self.conversation.provider, self.conversation.model);
                self.conversation = Conversation::open(None, dir, Some(model));
                Ok(json!({"cancelled": false}))
            }
            "cycle_model"
            | "cycle_thinking_level"
            | "set_auto_retry"
            | "abort_retry"
            | "abort_bash"
            | "set_steering_mode"
            | "set_follow_up_mode" => Ok(Value::Null),
            "extension_ui_response" => {
                self.questions.remove(command["id"].as_str().unwrap_or_default());
                return;
            }
            _ => Err(format!("Unknown command: {kind}")),
        };
        self.answer(&command["id"], kind, answer);
    }

    pub fn answer(&mut self, id: &Value, command: &str, answer: Result<Value, String>) {
        let mut line = json!({"type": "response", "command": command, "success": answer.is_ok()});
        if !id.is_null() {
            line["id"] = id.clone();
        }
        match answer {
            Ok(Value::Null) => {}
            Ok(data) => line["data"] = data,
            Err(error) => line["error"] = json!(error),
        }
        self.out.line(&line);
    }

    fn queue(&mut self, steer: bool, message: String) -> Result<Value, String> {
        if steer {
            self.steering.push_back(message);
        } else {
            self.follow_up.push_back(message);
        }
        self.show_queue();
        Ok(Value::Null)
    }

    pub fn show_queue(&mut self) {
        self.out.event("queue_update", json!({"steering": self.steering, "followUp": self.follow_up}));
    }

    fn state(&self) -> Value {
        let c = &self.conversation;
        json!({"model": c.model(), "thinkingLevel": self.thinking_level, "isStreaming": self.running || self.next.is_some(), "isCompacting": false,
            "steeringMode": "one-at-a-time", "followUpMode": "one-at-a-time", "sessionFile": c.path, "sessionId": c.id, "sessionName": c.name,
            "autoCompactionEnabled": self.auto_compaction, "messageCount": c.messages(),
            "pendingMessageCount": self.steering.len() + self.follow_up.len()})
    }

    fn stats(&self) -> Value {
        let c = &self.conversation;
        json!({"sessionFile": c.path, "sessionId": c.id, "userMessages": c.user, "assistantMessages": c.assistant, "toolCalls": c.tool_results,
            "toolResults": c.tool_results, "totalMessages": c.messages(),
            "tokens": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0}, "cost": 0})
    }
}
