//! A session that begins in the middle of another.

use crate::{Agent, Cell, Scene};
use octo_e2e::{Turn, demo_prompt};
use serde_json::{Value, json};

pub async fn fork(agent: Agent, cell: Cell) {
    let mut scene = Scene::open(agent).await;
    if cell == Cell::Unsupported {
        return scene.unsupported(&[json!({"cmd": "get_fork_points"}), json!({"cmd": "fork", "entry_id": "x"})]).await;
    }
    for what in ["one", "two", "three"] {
        scene.play(what, &[Turn::text(format!("answer to {what}"))]).await;
    }
    let points = scene.command(json!({"cmd": "get_fork_points"})).await;
    let third = points.as_array().unwrap().iter().find(|point| point["preview"].as_str().unwrap().starts_with("three")).unwrap();
    let forked = scene.command(json!({"cmd": "fork", "entry_id": third["entry_id"]})).await;
    assert!(forked["text"].as_str().unwrap().starts_with("three"), "{forked}");
    let fork = forked["session_id"].as_str().unwrap().to_owned();
    let workspace = scene.instance.workspace();
    scene.client.create_of(agent.harness(), &fork, &workspace).await;
    // The model counts the answers since the script: the agent has as many as the session shows.
    let texts =
        |history: &[Value]| history.iter().filter(|m| m["role"] == "assistant").map(|m| m["parts"][0]["text"].clone()).collect::<Vec<_>>();
    assert_eq!(texts(&scene.client.history(&fork).await), ["answer to one", "answer to two"]);
    scene.client.command(&fork, json!({"cmd": "prompt", "message": demo_prompt("instead", &[Turn::text("answer to instead")])})).await;
    scene.client.idle(&fork).await;
    assert_eq!(texts(&scene.client.history(&fork).await).last().unwrap(), "answer to instead");
    // Where it comes from stays as it is, and goes on.
    scene.play("four", &[Turn::text("answer to four")]).await;
    assert_eq!(texts(&scene.history().await), ["answer to one", "answer to two", "answer to three", "answer to four"]);
}
