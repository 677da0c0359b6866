//! Turns that are stopped.

use crate::{Agent, Cell, Scene};
use octo_e2e::seen::find;
use octo_e2e::{Turn, until};
use serde_json::json;

pub async fn in_stream(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    scene.prompt("Talk.", &[Turn::text("x ".repeat(400)).slowly(400, 50)]).await;
    scene.event("stream.text_delta").await;
    scene.command(json!({"cmd": "follow_up", "message": "and then?", "client_id": "f"})).await;
    let aborted = scene.command(json!({"cmd": "abort"})).await;
    assert_eq!((&aborted["parked"][0]["client_id"], &aborted["parked"][0]["message"]), (&json!("f"), &json!("and then?")), "{aborted}");
    assert_eq!(find(&scene.to_the_end().await, "stream.done")["reason"], "aborted");
    scene.works().await;
    assert!(!scene.history().await.iter().any(|message| message["client_id"] == "f"), "what was parked did not run");
}

pub async fn in_tool(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    scene.prompt("Wait.", &[Turn::text("Waiting.").bash("echo begun; sleep 300"), Turn::text("never")]).await;
    scene.event("tool.start").await;
    let sleeps = |scene: &Scene| scene.instance.tree().iter().any(|process| process.command_line().starts_with("sleep"));
    until("the tool runs", || sleeps(&scene).then_some(())).await;
    scene.command(json!({"cmd": "abort"})).await;
    let seen = scene.to_the_end().await;
    assert_eq!(find(&seen, "tool.end")["is_error"], true);
    assert_eq!(find(&seen, "stream.done")["reason"], "aborted");
    until("the tool is gone", || (!sleeps(&scene)).then_some(())).await;
    scene.works().await;
}
