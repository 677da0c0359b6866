//! What a prompt brings: text, tools, thoughts, pictures.

use crate::{Agent, Cell, Scene};
use octo_e2e::seen::{find, has, names};
use octo_e2e::{Turn, demo_prompt};
use serde_json::json;

const DOT: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

pub async fn prompt(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    assert_eq!(scene.opened["harness"], agent.harness());
    let seen = scene.play("Tell me.", &[Turn::text("It comes in pieces, one after the other.").slowly(12, 5)]).await;
    let deltas = seen.iter().filter(|frame| frame["event"] == "stream.text_delta").count();
    assert!(deltas >= 8, "it streams: {deltas} deltas in {}", names(&seen));
    assert_eq!(find(&seen, "stream.done")["reason"], "stop");
    assert!(has(&seen, "usage") && has(&seen, "agent.idle"), "{}", names(&seen));
    assert_eq!(scene.said().await, "It comes in pieces, one after the other.");
}

pub async fn tool(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    let seen = scene.play("Make it.", &[Turn::text("Now.").bash("printf made > made.txt && echo written"), Turn::text("Done.")]).await;
    assert_eq!(find(&seen, "tool.start")["name"], agent.shell());
    assert_eq!(find(&seen, "tool.end")["is_error"], false);
    assert_eq!(std::fs::read_to_string(scene.instance.workspace().join("made.txt")).unwrap(), "made");
    let history = scene.history().await;
    let roles: Vec<_> = history.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    assert!(history[2]["parts"][0]["output"].to_string().contains("written"), "{}", history[2]);
}

pub async fn thinking(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    let seen = scene.play("Think.", &[Turn::text("Thought through.").thinking("Let me see.")]).await;
    assert!(has(&seen, "stream.thinking_delta"), "{}", names(&seen));
    let history = scene.history().await;
    assert_eq!(history[1]["parts"][0]["type"], "thinking");
    assert_eq!(history[1]["parts"][0]["text"], "Let me see.");
}

pub async fn image(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    let message = demo_prompt("Look.", &[Turn::text("{{images}} seen")]);
    scene.command(json!({"cmd": "prompt", "message": message, "images": [{"data": DOT, "media_type": "image/png"}]})).await;
    scene.to_the_end().await;
    assert_eq!(scene.said().await, "1 seen", "the model gets it");
    let history = scene.history().await;
    assert!(history[0]["parts"].as_array().unwrap().iter().any(|part| part["type"] == "image"), "and history has it: {}", history[0]);
}
