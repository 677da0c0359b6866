//! octo in front of a bridge: `[harness.boxed]` with `transport = "bridge"`, through octo's own mux, judged by the history checker.

use crate::proxy::Proxy;
use crate::room::{Room, Running, TOKEN};
use octo_e2e::{Client, Instance, Options, Turn, demo_prompt, processes};
use serde_json::{Value, json};

const SESSION: &str = "ses_b";

struct Scene {
    room: Room,
    bridge: Option<Running>,
    way: Proxy,
    instance: Instance,
    client: Client,
}

fn options(port: u16, token: &str, further: &str) -> Options {
    let config = format!(
        "[harness.boxed]\nlabel = \"In the box\"\ntransport = \"bridge\"\nurl = \"http://127.0.0.1:{port}\"\ntoken = \"env:BOX_TOKEN\"\n{further}"
    );
    Options { config, env: vec![("BOX_TOKEN".to_owned(), token.to_owned())], ..Options::default() }
}

impl Scene {
    async fn of(harness: &str, further: &str) -> Self {
        let room = Room::new().await;
        let bridge = room.bridge(harness, 0, &[]).await;
        let way = Proxy::to(bridge.port).await;
        let mut instance = Instance::new(options(way.port(), TOKEN, further));
        instance.start().await;
        let mut client = Client::connect(&instance).await;
        let opened = client.create_of("boxed", SESSION, &instance.workspace()).await;
        assert_eq!(opened["harness"], "boxed", "{opened}");
        Self { room, bridge: Some(bridge), way, instance, client }
    }

    async fn prompt(&mut self, lead: &str, turns: &[Turn], id: &str) {
        self.client.command(SESSION, json!({"cmd": "prompt", "message": demo_prompt(lead, turns), "client_id": id})).await;
    }

    async fn event(&mut self, name: &str) -> Value {
        self.client.event(SESSION, |frame| frame["event"] == name).await.expect("the connection holds")
    }

    async fn history(&mut self) -> Vec<(String, String)> {
        let history = self.client.history(SESSION).await;
        self.client.checker.agrees_with(SESSION, &history);
        let text =
            |message: &Value| message["parts"].as_array().unwrap().iter().filter_map(|part| part["text"].as_str()).collect::<String>();
        history.iter().map(|message| (message["role"].as_str().unwrap().to_owned(), text(message))).collect()
    }

    fn roles(history: &[(String, String)]) -> Vec<&str> {
        history.iter().map(|(role, _)| role.as_str()).collect()
    }
}

async fn works_through_cuts(harness: &str) {
    let mut scene = Scene::of(harness, "").await;
    let turns = [
        Turn::text("one two three four five six seven eight").slowly(8, 60).bash("echo begun; sleep 1; printf made > made.txt"),
        Turn::text("nine ten eleven twelve").slowly(4, 60),
    ];
    scene.client.command(SESSION, json!({"cmd": "set_permissions", "mode": "allow"})).await;
    scene.prompt("Work.", &turns, "p1").await;
    scene.event("stream.text_delta").await;
    scene.way.cut();
    scene.event("tool.start").await;
    scene.way.cut();
    scene.client.idle(SESSION).await;
    assert!(scene.way.carried() >= 3, "it was cut");
    assert!(scene.room.work().join("made.txt").exists(), "it ran where the bridge is");
    let history = scene.history().await;
    assert_eq!(Scene::roles(&history), ["user", "assistant", "tool", "assistant"], "{history:?}");
    assert_eq!((history[1].1.clone(), history[3].1.clone()), (turns[0].said(), turns[1].said()));
    // The token is where it is needed, and in nobody's command line.
    for process in processes() {
        assert!(!process.command_line().contains(TOKEN), "{process:?}");
    }
    let logs: Vec<_> = scene.instance.files_with(TOKEN).into_iter().filter(|file| file.extension().is_some_and(|e| e == "log")).collect();
    assert!(logs.is_empty(), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_of_pi_in_a_box_goes_on_through_cuts_of_the_way_to_it() {
    works_through_cuts("pi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_of_claude_code_in_a_box_goes_on_through_cuts_of_the_way_to_it() {
    works_through_cuts("claude").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn octo_decides_what_the_agent_in_the_box_may_and_an_answer_arrives_though_the_way_was_cut() {
    let mut scene = Scene::of("pi", "permissions = \"ask\"\n").await;
    scene.prompt("Write.", &[Turn::text("Now.").bash("printf it > asked.txt"), Turn::text("Done.")], "p1").await;
    let request = scene.event("agent.input_needed").await["request"].clone();
    assert_eq!(request["metadata"]["command"], "printf it > asked.txt");
    scene.way.close();
    let answer = json!({"cmd": "input_response", "request_id": request["request_id"], "option_id": "allow_once"});
    scene.client.command(SESSION, answer).await;
    scene.way.open();
    scene.client.idle(SESSION).await;
    assert!(scene.room.work().join("asked.txt").exists());
    scene.prompt("Again.", &[Turn::text("Now.").bash("printf it > denied.txt"), Turn::text("I may not.")], "p2").await;
    let request = scene.event("agent.input_needed").await["request"].clone();
    scene.client.command(SESSION, json!({"cmd": "input_response", "request_id": request["request_id"], "option_id": "deny_once"})).await;
    scene.client.idle(SESSION).await;
    assert!(!scene.room.work().join("denied.txt").exists());
    let history = scene.history().await;
    assert_eq!(history.last().unwrap().1, "I may not.");
}

#[tokio::test(flavor = "multi_thread")]
async fn steering_abort_models_and_thinking_reach_the_agent_in_the_box() {
    let mut scene = Scene::of("claude", "permissions = \"allow\"\n").await;
    scene.prompt("Work.", &[Turn::text("Working.").bash("echo begun; sleep 1; echo done"), Turn::text("After the steer.")], "p1").await;
    scene.event("tool.start").await;
    scene.client.command(SESSION, json!({"cmd": "steer", "message": "a little to the left", "client_id": "s1"})).await;
    scene.client.idle(SESSION).await;
    let history = scene.history().await;
    assert!(history.iter().any(|(role, text)| role == "user" && text == "a little to the left"), "{history:?}");

    scene.prompt("Talk.", &[Turn::text("x ".repeat(400)).slowly(400, 50)], "p2").await;
    scene.event("stream.text_delta").await;
    scene.client.command(SESSION, json!({"cmd": "steer", "message": "stop that", "client_id": "s2"})).await;
    let aborted = scene.client.command(SESSION, json!({"cmd": "abort"})).await;
    assert_eq!(aborted["parked"][0]["client_id"], "s2", "{aborted}");
    assert_eq!(scene.event("stream.done").await["reason"], "aborted");
    scene.client.idle(SESSION).await;

    let models = scene.client.command(SESSION, json!({"cmd": "get_models"})).await;
    assert_eq!((&models[0]["provider"], &models[0]["id"]), (&json!("demo"), &json!("scripted")), "{models}");
    let level = scene.client.command(SESSION, json!({"cmd": "set_thinking_level", "level": "low"})).await;
    assert_eq!(level["level"], "low");
    let (code, sentence) = scene.client.refused(SESSION, json!({"cmd": "fork", "entry_id": "x"})).await;
    assert_eq!(code, "unsupported", "{sentence}");
    scene.prompt("And now?", &[Turn::text("All is well.")], "p3").await;
    scene.client.idle(SESSION).await;
    assert_eq!(scene.history().await.last().unwrap().1, "All is well.");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_runner_in_mid_turn_loses_and_doubles_nothing_of_what_the_box_does_meanwhile() {
    let mut scene = Scene::of("pi", "permissions = \"allow\"\n").await;
    let turns = [
        Turn::text("one two three four five six seven eight nine ten").slowly(10, 150).bash("echo begun; sleep 1; printf made > made.txt"),
        Turn::text("eleven twelve thirteen fourteen").slowly(4, 100),
    ];
    scene.prompt("Work.", &turns, "p1").await;
    scene.event("stream.text_delta").await;
    scene.instance.runner().kill();
    // The turn as octo knew it has ended, and what became of it follows by itself, in one of its own.
    assert_eq!(scene.event("stream.done").await["reason"], "aborted");
    let last = turns[1].said();
    let said = |frame: &Value| frame["event"] == "stream.message_end" && frame["message"].to_string().contains(&last);
    scene.client.event(SESSION, said).await.expect("the connection holds");
    scene.client.idle(SESSION).await;
    let history = scene.history().await;
    assert_eq!(Scene::roles(&history), ["user", "assistant", "tool", "assistant"], "{history:?}");
    assert_eq!((history[1].1.clone(), history[3].1.clone()), (turns[0].said(), turns[1].said()));
    assert_eq!(std::fs::read_to_string(scene.room.work().join("made.txt")).unwrap(), "made");
    scene.prompt("And now?", &[Turn::text("All is well.")], "p2").await;
    scene.client.idle(SESSION).await;
    assert_eq!(scene.history().await.last().unwrap().1, "All is well.");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_bridge_in_mid_turn_ends_the_turn_and_the_session_goes_on_with_the_next() {
    let mut scene = Scene::of("pi", "permissions = \"allow\"\n").await;
    scene.prompt("Talk.", &[Turn::text("x ".repeat(400)).slowly(400, 50)], "p1").await;
    scene.event("stream.text_delta").await;
    let bridge = scene.bridge.take().unwrap();
    let port = bridge.port;
    bridge.kill().await;
    // Out of reach is said once, and is no end.
    let told = scene.client.event(SESSION, |frame| frame["event"] == "notify" && frame["level"] == "warning").await.unwrap();
    assert!(told["message"].as_str().unwrap().contains("out of reach"), "{told}");
    scene.bridge = Some(scene.room.bridge("pi", port, &[]).await);
    assert_eq!(scene.event("stream.done").await["reason"], "aborted");
    scene.client.idle(SESSION).await;
    scene.prompt("And now?", &[Turn::text("All is well.")], "p2").await;
    scene.client.idle(SESSION).await;
    let history = scene.history().await;
    assert_eq!(history.last().unwrap().1, "All is well.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_a_bridge_that_is_not_there_are_said_in_a_sentence() {
    let room = Room::new().await;
    let bridge = room.bridge("pi", 0, &[]).await;
    let mut instance = Instance::new(options(bridge.port, "another-token-of-somebody", ""));
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    let create = json!({"cmd": "session.create", "config": {"harness": "boxed", "cwd": instance.workspace()}});
    let (code, sentence) = client.refused(SESSION, create.clone()).await;
    assert!(code == "agent_failed" && sentence.contains("refuses: the token is wrong"), "{sentence}");
    let url = bridge.url();
    assert!(bridge.stop().await.success());
    let (code, sentence) = client.refused("ses_c", create).await;
    assert!(code == "agent_failed" && sentence.contains(&format!("the bridge at {url} was out of reach")), "{sentence}");
    let list = octo_e2e::request("GET", &format!("{}/api/harnesses", instance.url()), Some(client.token()), None).await.unwrap().json();
    let boxed = list.as_array().unwrap().iter().find(|entry| entry["name"] == "boxed").unwrap();
    assert_eq!(
        (&boxed["installed"], &boxed["protocol"], &boxed["label"]),
        (&json!(true), &json!("bridge"), &json!("In the box")),
        "{boxed}"
    );
}
