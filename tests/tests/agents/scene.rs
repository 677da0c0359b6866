//! A running octo with one agent, and a client of it.

use octo_e2e::seen::{has, names};
use octo_e2e::{Client, Instance, Options, Turn, demo_prompt};
use serde_json::{Value, json};

/// The session that a scene plays in.
pub const SESSION: &str = "s";

/// A real agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// pi 0.73.1: cumulative snapshots, a run ends with `agent_end` and a question.
    PiOld,
    /// The pi that octo installs: deltas, a run ends with `agent_settled`.
    PiNow,
    /// The Claude Code that octo installs.
    Claude,
}

impl Agent {
    /// Its name in `SessionConfig.harness`.
    pub fn harness(self) -> &'static str {
        if self == Self::Claude { "claude" } else { "pi" }
    }

    /// What it calls its shell.
    pub fn shell(self) -> &'static str {
        if self == Self::Claude { "Bash" } else { "bash" }
    }
}

/// A running octo with one agent, and a client of it.
pub struct Scene {
    pub agent: Agent,
    pub instance: Instance,
    pub client: Client,
    /// What the session's creation was answered.
    pub opened: Value,
}

impl Scene {
    /// With tool calls allowed.
    pub async fn open(agent: Agent) -> Self {
        Self::open_with(agent, &[]).await
    }

    /// With files in the home, by their paths below it; tool calls are allowed.
    pub async fn open_with(agent: Agent, files: &[(&str, String)]) -> Self {
        let mut scene = Self::asking_with(agent, files).await;
        scene.command(json!({"cmd": "set_permissions", "mode": "allow"})).await;
        scene
    }

    /// With tool calls asked for.
    pub async fn asking(agent: Agent) -> Self {
        Self::asking_with(agent, &[]).await
    }

    async fn asking_with(agent: Agent, files: &[(&str, String)]) -> Self {
        let config = "[permissions]\ndefault = \"ask\"\n".to_owned();
        let mut instance =
            Instance::new(Options { config, agents_dir: (agent == Agent::PiOld).then(octo_e2e::old_pi), ..Options::default() });
        for (path, text) in files {
            let path = instance.home().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        instance.start().await;
        let mut client = Client::connect(&instance).await;
        let opened = client.create_of(agent.harness(), SESSION, &instance.workspace()).await;
        Self { agent, instance, client, opened }
    }

    /// Another device of the same person.
    pub async fn another_device(&self) -> Client {
        let mut client = Client::connect(&self.instance).await;
        client.attach(SESSION).await.unwrap();
        client
    }

    /// A command that succeeds.
    pub async fn command(&mut self, command: Value) -> Value {
        self.client.command(SESSION, command).await
    }

    /// Prompts with a script.
    pub async fn prompt(&mut self, lead: &str, turns: &[Turn]) {
        self.command(json!({"cmd": "prompt", "message": demo_prompt(lead, turns)})).await;
    }

    /// Prompts, and waits for the end of the turn; what happened meanwhile.
    pub async fn play(&mut self, lead: &str, turns: &[Turn]) -> Vec<Value> {
        self.prompt(lead, turns).await;
        self.to_the_end().await
    }

    /// Waits for an event.
    pub async fn event(&mut self, name: &str) -> Value {
        self.client.event(SESSION, |frame| frame["event"] == name).await.expect("the connection holds")
    }

    /// Events up to the end of the turn, whatever it is.
    ///
    /// # Panics
    /// When something is asked that no scenario means to answer.
    pub async fn to_the_end(&mut self) -> Vec<Value> {
        let mut seen = Vec::new();
        let over = |frame: &Value| {
            assert_ne!(frame["event"], "agent.input_needed", "nobody will answer this: {frame}");
            seen.push(frame.clone());
            frame["event"] == "agent.idle" || frame["event"] == "agent.error"
        };
        self.client.event(SESSION, over).await.expect("the connection holds");
        seen
    }

    /// Waits until nothing runs and nothing waits.
    pub async fn rest(&mut self) {
        while self.command(json!({"cmd": "get_state"})).await["isStreaming"] == true {
            self.client.idle(SESSION).await;
        }
    }

    /// The whole conversation, which is what the client saw of it.
    pub async fn history(&mut self) -> Vec<Value> {
        let history = self.client.history(SESSION).await;
        self.client.checker.agrees_with(SESSION, &history);
        history
    }

    /// What the model said last.
    pub async fn said(&mut self) -> String {
        let history = self.history().await;
        let last = history.iter().rfind(|message| message["role"] == "assistant").expect("an answer");
        last["parts"].as_array().unwrap().iter().filter_map(|part| part["text"].as_str()).collect()
    }

    /// The agent still works.
    pub async fn works(&mut self) {
        let seen = self.play("And now?", &[Turn::text("All is well.")]).await;
        assert!(has(&seen, "agent.idle"), "{}", names(&seen));
        assert_eq!(self.said().await, "All is well.");
    }

    /// The session does not offer these commands, and says so when it is asked all the same.
    pub async fn unsupported(&mut self, commands: &[Value]) {
        let offered = self.opened["capabilities"].as_array().unwrap().clone();
        for command in commands {
            assert!(!offered.contains(&command["cmd"]), "{command} is offered: {offered:?}");
            let (code, sentence) = self.client.refused(SESSION, command.clone()).await;
            assert_eq!(code, "unsupported", "{command}: {sentence}");
        }
    }
}
