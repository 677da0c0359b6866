//! The conversation as far as pi's session file tells of it: how many messages of whom, under which id. What they say is not kept.

use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// A conversation and its file, which appears with the first message of the agent, as pi's does.
pub struct Conversation {
    pub id: String,
    pub path: Option<PathBuf>,
    file: Option<File>,
    /// Roles that the file does not have yet.
    unwritten: Vec<&'static str>,
    pub name: Option<String>,
    pub provider: String,
    pub model: String,
    pub user: u64,
    pub assistant: u64,
    pub tool_results: u64,
}

impl Conversation {
    /// Continues the one in the file `session`, or begins one with a file in `dir`.
    pub fn open(session: Option<String>, dir: Option<String>, model: Option<String>) -> Self {
        let model = model.unwrap_or_else(|| "demo/scripted".to_owned());
        let (provider, model) = model.split_once('/').unwrap_or(("demo", &model));
        let id = uuid::Uuid::now_v7().to_string();
        let mut conversation = Self {
            path: dir.map(|dir| PathBuf::from(dir).join(format!("scripted-{id}.jsonl"))),
            id,
            file: None,
            unwritten: Vec::new(),
            name: None,
            provider: provider.to_owned(),
            model: model.to_owned(),
            user: 0,
            assistant: 0,
            tool_results: 0,
        };
        if let Some(path) = session.map(PathBuf::from) {
            conversation.load(path);
        }
        conversation
    }

    fn load(&mut self, path: PathBuf) {
        for line in std::fs::read_to_string(&path).unwrap_or_default().lines() {
            let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
            match (entry["type"].as_str(), entry["role"].as_str()) {
                (Some("session"), _) => entry["id"].as_str().unwrap_or_default().clone_into(&mut self.id),
                (_, Some("user")) => self.user += 1,
                (_, Some("assistant")) => self.assistant += 1,
                (_, Some("toolResult")) => self.tool_results += 1,
                _ => {}
            }
        }
        self.file = File::options().append(true).open(&path).ok();
        self.path = Some(path);
    }

    /// All messages.
    pub fn messages(&self) -> u64 {
        self.user + self.assistant + self.tool_results
    }

    /// One more message.
    pub fn add(&mut self, role: &'static str) {
        match role {
            "user" => self.user += 1,
            "assistant" => self.assistant += 1,
            _ => self.tool_results += 1,
        }
        self.unwritten.push(role);
        if self.assistant > 0 {
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(path) = &self.path else { return };
        let mut text = String::new();
        if self.file.is_none() {
            let _ = path.parent().map(std::fs::create_dir_all);
            self.file = File::options().create(true).append(true).open(path).ok();
            text = json!({"type": "session", "version": 3, "id": self.id}).to_string() + "\n";
        }
        for role in self.unwritten.drain(..) {
            text.push_str(&json!({"type": "message", "role": role}).to_string());
            text.push('\n');
        }
        if let Some(file) = &mut self.file {
            // A full disk is the disk's trouble: pi goes on as well.
            let _ = file.write_all(text.as_bytes());
        }
    }

    /// The model as pi describes one.
    pub fn model(&self) -> Value {
        json!({"id": self.model, "name": "Scripted", "api": "scripted", "provider": self.provider, "reasoning": false, "input": ["text"],
            "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}, "contextWindow": 200_000, "maxTokens": 32_000})
    }
}
