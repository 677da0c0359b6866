//! What a person does in the agent's place.

use crate::scene::SESSION;
use crate::{Agent, Cell, Scene};
use octo_e2e::seen::{find, has};
use octo_e2e::until;
use serde_json::{Value, json};

pub async fn shell(agent: Agent, cell: Cell) {
    let mut scene = Scene::open(agent).await;
    if cell == Cell::Unsupported {
        return scene.unsupported(&[json!({"cmd": "bash", "command": "true"}), json!({"cmd": "abort_bash"})]).await;
    }
    let done = scene.command(json!({"cmd": "bash", "command": "echo one; echo two > made; exit 3"})).await;
    assert_eq!((&done["output"], &done["exit_code"], &done["cancelled"]), (&json!("one\n"), &json!(3), &json!(false)), "{done}");
    assert_eq!(std::fs::read_to_string(scene.instance.workspace().join("made")).unwrap(), "two\n");
    let mut seen = Vec::new();
    let over = |frame: &Value| {
        seen.push(frame.clone());
        frame["event"] == "stream.message_end"
    };
    scene.client.event(SESSION, over).await.unwrap();
    let end = find(&seen, "tool.end");
    assert_eq!((&end["name"], &end["is_error"], &end["turn_id"]), (&json!("bash"), &json!(true), &json!(null)));
    assert!(!has(&seen, "agent.working"), "it is no turn of the model");
    let history = scene.history().await;
    let metadata = &history[0]["metadata"];
    assert_eq!((&history[0]["role"], &metadata["kind"], &metadata["exit_code"]), (&json!("system"), &json!("bash_execution"), &json!(3)));

    // One at a time; it ends when it is told to, and the session goes on.
    let mut second = scene.another_device().await;
    let wait = second.send_command(SESSION, json!({"cmd": "bash", "command": "echo begun; sleep 300"})).await;
    until("it runs", || scene.instance.tree().iter().any(|process| process.command_line().starts_with("sleep 300")).then_some(())).await;
    let (code, sentence) = scene.client.refused(SESSION, json!({"cmd": "bash", "command": "true"})).await;
    assert_eq!(code, "busy", "{sentence}");
    // A turn that begins and ends meanwhile does not end it.
    scene.works().await;
    assert_eq!(scene.command(json!({"cmd": "get_state"})).await["runningTools"][0]["name"], "bash");
    scene.command(json!({"cmd": "abort_bash"})).await;
    let done = second.response(&wait).await.unwrap();
    assert_eq!(done["data"]["cancelled"], true, "{done}");
    until("it is gone", || (!scene.instance.tree().iter().any(|process| process.command_line().starts_with("sleep 300"))).then_some(()))
        .await;
    let (code, _) = scene.client.refused(SESSION, json!({"cmd": "abort_bash"})).await;
    assert_eq!(code, "invalid_state");
    scene.works().await;
}

pub async fn export(agent: Agent, cell: Cell) {
    let mut scene = Scene::open(agent).await;
    if cell == Cell::Unsupported {
        return scene.unsupported(&[json!({"cmd": "export_html"})]).await;
    }
    scene.works().await;
    let path = scene.instance.workspace().join("talk.html");
    let made = scene.command(json!({"cmd": "export_html", "path": path})).await;
    assert_eq!(made["path"], path.to_str().unwrap());
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.to_lowercase().contains("<html"), "a page of {} bytes", page.len());
}
