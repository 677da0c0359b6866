//! What is said to an agent at work.

use crate::{Agent, Cell, Scene};
use octo_e2e::{Turn, demo_prompt};
use serde_json::{Value, json};

/// Sent while a tool runs that ends when the file `go` is there.
const WAITS: &str = "echo begun; until [ -e go ]; do sleep 0.05; done; echo done";

impl Scene {
    async fn busy(&mut self) {
        self.prompt("Work.", &[Turn::text("Working.").bash(WAITS), Turn::text("Worked.")]).await;
        self.event("tool.start").await;
    }

    fn go(&self) {
        std::fs::write(self.instance.workspace().join("go"), "").unwrap();
    }

    async fn say(&mut self, cmd: &str, id: &str) {
        let message = demo_prompt(id, &[Turn::text(format!("heard {id}"))]);
        self.command(json!({"cmd": cmd, "message": message, "client_id": id})).await;
    }

    /// The ids of what was sent, as the conversation has it.
    async fn sent(&mut self) -> Vec<String> {
        self.rest().await;
        let history = self.history().await;
        history.iter().filter(|m| m["role"] == "user").filter_map(|m| m["client_id"].as_str().map(str::to_owned)).collect()
    }

    async fn queued(&mut self, wanted: impl Fn(&[Value], &[Value]) -> bool) {
        let fits = |frame: &Value| {
            let list = |name: &str| frame[name].as_array().map(Vec::as_slice).unwrap_or_default().to_vec();
            frame["event"] == "queue.changed" && wanted(&list("steering"), &list("follow_up"))
        };
        self.client.event(crate::scene::SESSION, fits).await.expect("the connection holds");
    }
}

pub async fn steer(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    scene.busy().await;
    scene.say("follow_up", "f").await;
    scene.say("steer", "s").await;
    scene.queued(|steering, follow_up| steering.len() == 1 && follow_up.len() == 1).await;
    scene.go();
    scene.client.idle(crate::scene::SESSION).await;
    assert_eq!(scene.sent().await, ["s", "f"], "the steering message comes first");
    let history = scene.history().await;
    let at = |wanted: &dyn Fn(&Value) -> bool| history.iter().position(wanted).unwrap();
    let (tool, steered) = (at(&|m| m["role"] == "tool"), at(&|m| m["client_id"] == "s"));
    assert_eq!(steered, tool + 1, "right after the tool: {history:?}");
    assert_eq!(scene.said().await, "heard f");
}

pub async fn follow_up(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    scene.busy().await;
    scene.say("follow_up", "one").await;
    scene.say("follow_up", "two").await;
    scene.go();
    scene.client.idle(crate::scene::SESSION).await;
    assert_eq!(scene.sent().await, ["one", "two"]);
    let history = scene.history().await;
    let of = |text: &str| history.iter().position(|m| m["role"] == "assistant" && m.to_string().contains(text)).unwrap();
    assert!(of("Worked.") < of("heard one") && of("heard one") < of("heard two"), "{history:?}");
}

pub async fn edit(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    scene.busy().await;
    for id in ["one", "two", "three"] {
        scene.say("follow_up", id).await;
    }
    scene.queued(|_, follow_up| follow_up.len() == 3).await;
    scene.command(json!({"cmd": "queue.drop", "client_id": "one"})).await;
    let message = demo_prompt("other", &[Turn::text("heard the other")]);
    scene.command(json!({"cmd": "queue.replace", "client_id": "two", "message": message, "new_client_id": "other"})).await;
    scene.queued(|_, follow_up| follow_up.len() == 2 && follow_up[0]["client_id"] == "other").await;
    scene.go();
    scene.client.idle(crate::scene::SESSION).await;
    assert_eq!(scene.sent().await, ["other", "three"]);
}

pub async fn steer_dropped(agent: Agent, cell: Cell) {
    let mut scene = Scene::open(agent).await;
    scene.busy().await;
    scene.say("steer", "one").await;
    scene.say("steer", "two").await;
    scene.queued(|steering, _| steering.len() == 2).await;
    let drop = json!({"cmd": "queue.drop", "client_id": "one"});
    let wanted: &[&str] = if cell == Cell::Works {
        scene.command(drop).await;
        scene.queued(|steering, _| steering.len() == 1 && steering[0]["client_id"] == "two").await;
        &["two"]
    } else {
        // The command is there, for follow-ups; this one keeps what it has.
        let (code, sentence) = scene.client.refused(crate::scene::SESSION, drop).await;
        assert_eq!(code, "unsupported", "{sentence}");
        &["one", "two"]
    };
    scene.go();
    scene.client.idle(crate::scene::SESSION).await;
    assert_eq!(scene.sent().await, wanted);
}
