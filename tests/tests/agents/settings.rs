//! What a person sets while the agent runs.

use crate::scene::SESSION;
use crate::{Agent, Cell, Scene};
use octo_e2e::Turn;
use octo_e2e::seen::{find, has};
use serde_json::json;

pub async fn model(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    scene.play("Which?", &[Turn::text("I am {{model}}")]).await;
    assert_eq!(scene.said().await, "I am scripted");
    let models = scene.command(json!({"cmd": "get_models"})).await;
    let other = models.as_array().unwrap().iter().find(|model| model["id"] == "scripted-small").expect("it is offered").clone();
    assert!(other["contextWindow"].as_u64().unwrap() > 0, "{other}");
    let wanted = json!({"provider": "demo", "model_id": "scripted-small"});
    let set = scene.command(json!({"cmd": "set_model", "provider": "demo", "model_id": "scripted-small"})).await;
    assert_eq!(set, wanted);
    let seen = scene.play("Which now?", &[Turn::text("I am {{model}}")]).await;
    assert_eq!(scene.said().await, "I am scripted-small", "the provider is asked for it");
    assert_eq!(find(&seen, "agent.idle")["event"], "agent.idle");
    assert_eq!(scene.command(json!({"cmd": "get_state"})).await["model"]["id"], "scripted-small");
    let (code, sentence) = scene.client.refused(SESSION, json!({"cmd": "set_model", "provider": "demo", "model_id": "nope"})).await;
    assert_eq!(code, "invalid_request", "{sentence}");
}

pub async fn thinking_level(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    for level in ["low", "high"] {
        let set = scene.command(json!({"cmd": "set_thinking_level", "level": level})).await;
        assert_eq!(set["level"], level);
        assert_eq!(scene.command(json!({"cmd": "get_state"})).await["thinkingLevel"], level);
    }
    scene.works().await;
}

pub async fn name(agent: Agent, _: Cell) {
    let mut scene = Scene::open(agent).await;
    scene.command(json!({"cmd": "set_session_name", "name": "The house of cards"})).await;
    assert_eq!(scene.event("session.title_changed").await["title"], "The house of cards");
    assert_eq!(scene.command(json!({"cmd": "get_state"})).await["sessionName"], "The house of cards");
}

pub async fn commands(agent: Agent, _: Cell) {
    let skill = "---\nname: knots\ndescription: Ties knots\n---\nTie them.\n".to_owned();
    let files = [(".pi/agent/skills/knots/SKILL.md", skill.clone()), (".claude/skills/knots/SKILL.md", skill)];
    let mut scene = Scene::open_with(agent, &files).await;
    let commands = scene.command(json!({"cmd": "get_commands"})).await;
    let knots = commands.as_array().unwrap().iter().find(|command| command["name"].as_str().unwrap().contains("knots"));
    let knots = knots.unwrap_or_else(|| panic!("the skill is not there: {commands}"));
    assert!(knots["description"].as_str().unwrap().contains("Ties knots"), "{knots}");
}

pub async fn switches(agent: Agent, cell: Cell) {
    let mut scene = Scene::open(agent).await;
    let switches = [json!({"cmd": "set_auto_compaction", "enabled": false}), json!({"cmd": "set_auto_retry", "enabled": false})];
    if cell == Cell::Unsupported {
        return scene.unsupported(&switches).await;
    }
    for switch in switches {
        scene.command(switch).await;
    }
    assert_eq!(scene.command(json!({"cmd": "get_state"})).await["autoCompactionEnabled"], false);
    let seen = scene.play("Fail.", &[Turn::text("never").failing(529, 9)]).await;
    assert!(has(&seen, "agent.error"), "it is not tried again");
}
