//! Providers that fail, agents that are killed, and what goes on after it.

use crate::scene::SESSION;
use crate::{Agent, Cell, Scene};
use octo_e2e::seen::{find, has, names};
use octo_e2e::{Process, Turn, until};
use serde_json::json;

pub async fn retry(agent: Agent, cell: Cell) {
    let mut scene = Scene::open(agent).await;
    let seen = scene.play("Fail once.", &[Turn::text("At last.").failing(529, 1)]).await;
    assert_eq!(find(&seen, "stream.done")["reason"], "stop");
    if cell == Cell::Works {
        assert!(find(&seen, "retry.start")["error"].as_str().unwrap().contains("529"), "{}", names(&seen));
        assert_eq!(find(&seen, "retry.end")["success"], true);
    } else {
        assert!(!has(&seen, "retry.start"), "it leaves it to its provider's library: {}", names(&seen));
    }
    assert_eq!(scene.said().await, "At last.");
}

pub async fn error(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    let seen = scene.play("Fail.", &[Turn::text("never").failing(400, 9)]).await;
    let error = find(&seen, "agent.error");
    assert!(error["recoverable"] == true && error["error"].as_str().unwrap().contains("400"), "{error}");
    assert!(!has(&seen, "retry.start"), "what is refused is not tried again: {}", names(&seen));
    scene.works().await;
}

pub async fn killed(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    let turns = [Turn::text("First."), Turn::text("x ".repeat(300)).slowly(300, 50), Turn::text("Third.")];
    scene.play("Remember.", &turns).await;
    scene.command(json!({"cmd": "prompt", "message": "go on"})).await;
    scene.event("stream.text_delta").await;
    scene.instance.agents().iter().for_each(Process::kill);
    let seen = scene.to_the_end().await;
    assert!(has(&seen, "agent.error") && has(&seen, "stream.message_discarded"), "{}", names(&seen));
    // The script is in the conversation: who plays a later turn of it remembers.
    scene.command(json!({"cmd": "prompt", "message": "and on"})).await;
    let next = |frame: &serde_json::Value| frame["event"] == "stream.text_delta";
    let next = scene.client.event(SESSION, next).await.unwrap();
    assert!(["x", "Third"].iter().any(|word| next["delta"].as_str().unwrap().contains(word)), "{next}");
    scene.command(json!({"cmd": "abort"})).await;
    scene.to_the_end().await;
    scene.works().await;
}

pub async fn restarted(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    scene.play("Remember.", &[Turn::text("First."), Turn::text("Second.")]).await;
    scene.instance.kill_everything();
    until("the agents are gone", || scene.instance.agents().is_empty().then_some(())).await;
    scene.instance.start().await;
    scene.client.reconnect_to(&scene.instance).await;
    scene.client.attach(SESSION).await.unwrap();
    scene.command(json!({"cmd": "prompt", "message": "go on"})).await;
    scene.client.idle(SESSION).await;
    assert_eq!(scene.said().await, "Second.");
}
