//! A session that others use too, what a person chooses in it, and prompts that come while it works.

use crate::puppet::{Puppet, Sdk, Way, token};
use crate::raw::Raw;
use crate::sdks::asking;
use octo_e2e::{Client as Mux, Instance, Options, Turn, demo_prompt};
use serde_json::{Value, json};

fn is_update(said: &Value, kind: &str) -> bool {
    said["params"]["update"]["sessionUpdate"] == kind
}

/// A session of an SDK's, and another device of the same person on it.
async fn scene(options: Options) -> (Instance, String, Puppet, String, Mux) {
    let mut instance = Instance::new(options);
    instance.start().await;
    let token = token(&instance).await;
    let mut client = Puppet::start(Sdk::TypeScript, Way::Stdio, &instance, &token);
    client.initialize();
    let session = client.new_session(&instance);
    let mut device = Mux::connect(&instance).await;
    device.attach(&session).await.unwrap();
    (instance, token, client, session, device)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_device_answers_is_taken_back_and_a_late_answer_changes_nothing() {
    let (instance, _, mut client, session, mut device) = scene(asking()).await;
    let turns = [Turn::text("Now.").bash("printf it > made"), Turn::text("Done.")];
    let prompt = client.begin_prompt(&session, &demo_prompt("Write.", &turns));
    let question = client.asked();
    let needed = device.event(&session, |frame| frame["event"] == "agent.input_needed").await.unwrap();
    let request_id = &needed["request"]["request_id"];
    device.command(&session, json!({"cmd": "input_response", "request_id": request_id, "option_id": "deny_once"})).await;
    client.until(|said| said["said"] == "withdrawn" && said["ask"] == question["ask"]);
    client.choose(&question, "allow_once");
    assert_eq!(client.end(prompt)["result"]["stopReason"], "end_turn");
    assert!(!instance.workspace().join("made").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_device_says_and_chooses_is_told() {
    let (_instance, _, mut client, session, mut device) = scene(Options::default()).await;
    let said = demo_prompt("From the other one.", &[Turn::text("To both.")]);
    device.command(&session, json!({"cmd": "prompt", "message": said})).await;
    client.until(|said| is_update(said, "agent_message_chunk"));
    device.idle(&session).await;
    assert_eq!(client.text(&session, "user_message_chunk"), said);
    device.command(&session, json!({"cmd": "set_session_name", "name": "A name"})).await;
    client.until(|said| is_update(said, "session_info_update") && said["params"]["update"]["title"] == "A name");
    device.command(&session, json!({"cmd": "set_thinking_level", "level": "low"})).await;
    let update = client.until(|said| is_update(said, "config_option_update"));
    let options = update["params"]["update"]["configOptions"].as_array().unwrap().clone();
    assert_eq!(options.iter().find(|option| option["id"] == "thinking_level").unwrap()["currentValue"], "low");
    device.command(&session, json!({"cmd": "set_permissions", "mode": "ask"})).await;
    client.until(|said| is_update(said, "current_mode_update") && said["params"]["update"]["currentModeId"] == "ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_and_modes_are_set_and_what_is_set_counts() {
    let (instance, token, mut client, session, mut device) = scene(Options::default()).await;
    let set = |id: &str, value: &str| json!({"sessionId": session, "configId": id, "value": value});
    let result = client.request("session/set_config_option", &set("thinking_level", "high"));
    let level = result["configOptions"].as_array().unwrap().iter().find(|option| option["id"] == "thinking_level").unwrap().clone();
    assert_eq!(level["currentValue"], "high");
    assert_eq!(device.command(&session, json!({"cmd": "get_state"})).await["thinkingLevel"], "high");
    client.request("session/set_mode", &json!({"sessionId": session, "modeId": "deny"}));
    let turns = [Turn::text("Now.").bash("printf it > made"), Turn::text("Not allowed.")];
    assert_eq!(client.prompt(&session, &demo_prompt("Write.", &turns)), "end_turn");
    assert!(!instance.workspace().join("made").exists());
    for (id, value) in [("thinking_level", "deep"), ("no_such", "x"), ("harness", "claude"), ("model", "no/such")] {
        let refused = client.refused("session/set_config_option", &set(id, value));
        assert_eq!(refused["code"], -32602, "{refused}");
    }
    // They are there for the next client too; over a WebSocket as well.
    let mut next = Puppet::start(Sdk::Python, Way::Socket, &instance, &token);
    next.initialize();
    let loaded = next.request("session/load", &json!({"sessionId": session, "cwd": instance.workspace(), "mcpServers": []}));
    assert_eq!(loaded["modes"]["currentModeId"], "deny", "{loaded}");
    next.request("session/set_mode", &json!({"sessionId": session, "modeId": "allow"}));
    next.request("session/set_config_option", &set("thinking_level", "off"));
    client.until(|said| is_update(said, "current_mode_update") && said["params"]["update"]["currentModeId"] == "allow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_while_a_turn_runs_waits_for_a_turn_of_its_own_and_can_be_taken_back() {
    let (_instance, _, mut client, session, _device) = scene(Options::default()).await;
    let slow = demo_prompt("First.", &[Turn::text("one ".repeat(20)).slowly(20, 50)]);
    let first = client.begin_prompt(&session, &slow);
    client.until(|said| is_update(said, "agent_message_chunk"));
    let second = client.begin_prompt(&session, &demo_prompt("Second.", &[Turn::text("two")]));
    let third = client.begin_prompt(&session, &demo_prompt("Third.", &[Turn::text("three")]));
    client.take_back(third);
    assert_eq!(client.end(first)["result"]["stopReason"], "end_turn");
    assert_eq!(client.end(second)["result"]["stopReason"], "end_turn");
    client.end(third);
    assert_eq!(client.text(&session, "agent_message_chunk"), "one ".repeat(20) + "two", "what was taken back was not run");
    // One that runs, taken back.
    let fourth = client.begin_prompt(&session, &slow);
    client.until(|said| is_update(said, "agent_message_chunk"));
    client.take_back(fourth);
    client.end(fourth);
    assert_eq!(client.prompt(&session, &demo_prompt("Fifth.", &[Turn::text("five")])), "end_turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_agent_is_the_answer_to_the_prompt() {
    let (_instance, _, mut client, session, _device) = scene(Options::default()).await;
    let prompt = client.begin_prompt(&session, &demo_prompt("Fail.", &[Turn::text("no").failing(400, 99)]));
    let end = client.end(prompt);
    assert_eq!((&end["said"], &end["code"], &end["data"]["code"]), (&json!("error"), &json!(-32603), &json!("agent_failed")), "{end}");
    assert_eq!(client.prompt(&session, &demo_prompt("And now?", &[Turn::text("Well.")])), "end_turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_closed_and_deleted() {
    let (instance, token, mut client, session, mut device) = scene(Options::default()).await;
    let slow = demo_prompt("First.", &[Turn::text("one ".repeat(100)).slowly(100, 100)]);
    let prompt = client.begin_prompt(&session, &slow);
    client.until(|said| is_update(said, "agent_message_chunk"));
    client.request("session/close", &json!({"sessionId": session}));
    assert_eq!(client.end(prompt)["result"]["stopReason"], "cancelled");
    assert_eq!(client.refused("session/prompt", &json!({"sessionId": session, "prompt": []}))["code"], -32002);
    assert_eq!(device.command(&session, json!({"cmd": "get_state"})).await["status"], "closed");
    // It is still there; another prompt begins it again.
    client.request("session/load", &json!({"sessionId": session, "cwd": instance.workspace(), "mcpServers": []}));
    assert_eq!(client.prompt(&session, &demo_prompt("Again.", &[Turn::text("Here.")])), "end_turn");
    let mut raw = Raw::open(&instance, &token).await;
    assert!(raw.ask(1, "session/delete", json!({"sessionId": session})).await["result"].is_object());
    assert_eq!(raw.ask(2, "session/list", json!({})).await["result"]["sessions"], json!([]));
    assert_eq!(client.refused("session/prompt", &json!({"sessionId": session, "prompt": [{"type": "text", "text": "?"}]}))["code"], -32002);
}

/// A tool of pi that asks.
const ASKS: &str = r#"export default function (pi: any) {
	pi.registerTool({
		name: "colour",
		label: "Colour",
		description: "Asks which colour it shall be",
		parameters: { type: "object", properties: {} },
		async execute(_id: string, _input: any, _signal: any, _update: any, ctx: any) {
			const answer = await ctx.ui.select("Which colour?", ["Red", "Blue"]);
			return { content: [{ type: "text", text: `It is ${answer}` }], details: {} };
		},
	});
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_a_form_where_the_client_has_forms_and_a_choice_where_it_has_none() {
    let mut instance = Instance::new(Options::default());
    let extension = instance.home().join(".pi/agent/extensions/colour.ts");
    std::fs::create_dir_all(extension.parent().unwrap()).unwrap();
    std::fs::write(extension, ASKS).unwrap();
    instance.start().await;
    let token = token(&instance).await;
    let script = json!([{"text": "", "tools": [{"name": "colour", "input": {}}]}, {"text": "Thanks."}]);
    let ask = format!("Ask. @demo {script}");
    for forms in [false, true] {
        let mut client = Puppet::start(Sdk::TypeScript, Way::Socket, &instance, &token);
        let capabilities = if forms { json!({"elicitation": {"form": {}}}) } else { json!({}) };
        client.request("initialize", &json!({"protocolVersion": 1, "clientCapabilities": capabilities}));
        let session = client.new_session(&instance);
        let prompt = client.begin_prompt(&session, &ask);
        let question = client.asked();
        if forms {
            assert_eq!(question["method"], "elicitation/create", "{question}");
            client.accept(&question, &json!({"answer": "Blue"}));
        } else {
            assert_eq!(question["params"]["options"][1]["name"], "Blue", "{question}");
            client.choose(&question, "choice_1");
        }
        assert_eq!(client.end(prompt)["result"]["stopReason"], "end_turn");
        let updates = client.updates(&session);
        assert!(updates.iter().any(|update| update.to_string().contains("It is Blue")), "{updates:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_has_images_and_files() {
    let (instance, _, mut client, session, mut device) = scene(Options::default()).await;
    // One pixel.
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let prompt = json!([
        {"type": "text", "text": "Look at "},
        {"type": "resource_link", "uri": format!("file://{}/a.rs", instance.workspace().display()), "name": "a.rs"},
        {"type": "resource", "resource": {"uri": "file:///b.md", "text": "what is in it", "mimeType": "text/markdown"}},
        {"type": "image", "data": png, "mimeType": "image/png"},
        {"type": "text", "text": demo_prompt("", &[Turn::text("Seen.")])},
    ]);
    let end = client.request("session/prompt", &json!({"sessionId": session, "prompt": prompt}));
    assert_eq!(end["stopReason"], "end_turn");
    let history = device.command(&session, json!({"cmd": "get_messages"})).await;
    let parts = history["messages"][0]["parts"].as_array().unwrap().clone();
    let text = parts[0]["text"].as_str().unwrap();
    assert!(text.contains("/work/a.rs") && text.contains("what is in it"), "{text}");
    assert_eq!((&parts[1]["type"], &parts[1]["data"]), (&json!("image"), &json!(png)));
}
