//! A conversation that is made shorter.

use crate::scene::SESSION;
use crate::{Agent, Cell, Scene};
use octo_e2e::Turn;
use octo_e2e::seen::{find, has, names};
use serde_json::json;

/// pi keeps the newest twenty thousand tokens as they are; with these it keeps next to none.
const SETTINGS: &str = r#"{"compaction": {"enabled": true, "reserveTokens": 1000, "keepRecentTokens": 10}}"#;

pub async fn compact(agent: Agent, _: Cell) {
    let mut scene = Scene::open_with(agent, &[(".pi/agent/settings.json", SETTINGS.to_owned())]).await;
    scene.play("The first.", &[Turn::text("It was said at length. ".repeat(40))]).await;
    // Who is asked for a summary plays the next turn of the script, or says that there is none.
    scene.play("The second.", &[Turn::text("And once more, shorter."), Turn::text("In short: it was said.")]).await;
    scene.command(json!({"cmd": "compact", "instructions": "keep it short"})).await;
    let end = scene.event("compact.end").await;
    assert_eq!(end["success"], true, "{end}");
    scene.rest().await;
    let before = scene.history().await.len();
    assert!(before >= 4, "what was said stays readable");
    let seen = scene.play("Go on.", &[Turn::text("Still here.")]).await;
    assert!(has(&seen, "agent.idle"), "{}", names(&seen));
    assert_eq!(find(&seen, "stream.done")["reason"], "stop");
    assert_eq!(scene.said().await, "Still here.");
    let commands = scene.client.command(SESSION, json!({"cmd": "get_state"})).await;
    assert_eq!(commands["isCompacting"], false);
}
