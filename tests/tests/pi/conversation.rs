//! What every day brings: thinking, tools, pictures, another model, another title, a stop, a kill, and going on after it.

use super::{Pi, find, has, names, prompt, to_the_end, until};
use octo_e2e::{Client, Turn, demo_prompt};
use serde_json::json;

with_both!(
    it_thinks_runs_a_tool_and_takes_a_picture,
    a_stop_ends_the_run_in_the_stream_and_in_the_tool,
    it_comes_back_with_its_conversation_after_a_kill_of_anything,
    it_says_what_it_can_do_and_does_what_it_is_told,
);

const DOT: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

async fn it_thinks_runs_a_tool_and_takes_a_picture(pi: Pi) {
    let (instance, mut client) = pi.start("").await;
    let turns = [Turn::text("I look.").thinking("A tool will do.").bash("printf made > made.txt"), Turn::text("It is made.").slowly(6, 5)];
    let images = json!([{ "data": DOT, "media_type": "image/png" }]);
    client.command("s", json!({ "cmd": "prompt", "message": demo_prompt("Make it.", &turns), "images": images, "client_id": "one" })).await;
    let seen = to_the_end(&mut client).await;
    for name in ["stream.thinking_delta", "stream.text_delta", "tool.start", "tool.end", "usage"] {
        assert!(has(&seen, name), "no {name} in {}", names(&seen));
    }
    assert_eq!(find(&seen, "stream.done")["reason"], "stop");
    assert_eq!(std::fs::read_to_string(instance.workspace().join("made.txt")).unwrap(), "made");
    let history = client.history("s").await;
    let roles: Vec<_> = history.iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    assert_eq!(history[0]["parts"][1]["type"], "image");
    client.checker.agrees_with("s", &history);
}

async fn a_stop_ends_the_run_in_the_stream_and_in_the_tool(pi: Pi) {
    let (instance, mut client) = pi.start("").await;
    prompt(&mut client, &demo_prompt("Talk.", &[Turn::text("on and on and on and on").slowly(40, 200)])).await;
    until(&mut client, |frame| frame["event"] == "stream.text_delta").await;
    client.command("s", json!({ "cmd": "abort" })).await;
    assert_eq!(find(&to_the_end(&mut client).await, "stream.done")["reason"], "aborted");
    prompt(&mut client, &demo_prompt("Wait.", &[Turn::text("").bash("echo $$ > pid; sleep 300"), Turn::text("done")])).await;
    until(&mut client, |frame| frame["event"] == "tool.start").await;
    let pid =
        octo_e2e::until("the tool runs", || std::fs::read_to_string(instance.workspace().join("pid")).ok().filter(|t| !t.is_empty())).await;
    assert!(!pid.trim().is_empty());
    client.command("s", json!({ "cmd": "abort" })).await;
    let seen = to_the_end(&mut client).await;
    assert_eq!(find(&seen, "tool.end")["is_error"], true);
    assert_eq!(find(&seen, "stream.done")["reason"], "aborted");
    octo_e2e::until("the tool is gone", || instance.tree().iter().all(|p| !p.command_line().contains("sleep 300")).then_some(())).await;
    prompt(&mut client, &demo_prompt("Go on.", &[Turn::text("going on")])).await;
    client.idle("s").await;
}

async fn it_comes_back_with_its_conversation_after_a_kill_of_anything(pi: Pi) {
    let (mut instance, mut client) = pi.start("").await;
    prompt(&mut client, &demo_prompt("First.", &[Turn::text("the first answer")])).await;
    client.idle("s").await;
    prompt(&mut client, &demo_prompt("Second.", &[Turn::text("never to its end").slowly(60, 200)])).await;
    until(&mut client, |frame| frame["event"] == "stream.text_delta").await;
    instance.agents().iter().for_each(octo_e2e::Process::kill);
    let seen = to_the_end(&mut client).await;
    assert!(has(&seen, "agent.error") && has(&seen, "stream.message_discarded"), "{}", names(&seen));
    until(&mut client, |frame| frame["event"] == "session.restarted").await;
    let before = client.command("s", json!({ "cmd": "get_state" })).await["sessionFile"].clone();

    // Everything ends, and nothing is left but the disk.
    instance.kill_everything();
    octo_e2e::until("the agents are gone", || instance.agents().is_empty().then_some(())).await;
    client.cut();
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("s", &instance.workspace()).await;
    prompt(&mut client, &demo_prompt("Third.", &[Turn::text("the third answer")])).await;
    client.idle("s").await;
    let state = client.command("s", json!({ "cmd": "get_state" })).await;
    assert_eq!(state["sessionFile"], before, "the agent's own conversation goes on");
    let said: Vec<_> =
        client.history("s").await.iter().filter(|m| m["role"] == "assistant").map(|m| m["parts"][0]["text"].clone()).collect();
    assert!(said.contains(&json!("the first answer")) && said.contains(&json!("the third answer")), "{said:?}");
    let file = std::fs::read_to_string(before.as_str().unwrap()).unwrap();
    assert!(file.contains("the first answer") && file.contains("the third answer"));
}

async fn it_says_what_it_can_do_and_does_what_it_is_told(pi: Pi) {
    let (_instance, mut client) = pi.start("").await;
    assert_eq!(client.command("s", json!({ "cmd": "set_session_name", "name": "A name" })).await, json!(null));
    assert!(client.command("s", json!({ "cmd": "get_commands" })).await.is_array());
    assert!(!client.command("s", json!({ "cmd": "get_models" })).await.as_array().unwrap().is_empty());
    let set = client.command("s", json!({ "cmd": "set_model", "provider": "demo", "model_id": "scripted" })).await;
    assert_eq!(set, json!({ "provider": "demo", "model_id": "scripted" }));
    let (code, said) = client.refused("s", json!({ "cmd": "set_model", "provider": "demo", "model_id": "nope" })).await;
    assert_eq!(code, "invalid_request", "{said}");
    for command in [
        json!({ "cmd": "set_auto_compaction", "enabled": false }),
        json!({ "cmd": "set_auto_retry", "enabled": true }),
        json!({ "cmd": "abort_retry" }),
    ] {
        assert_eq!(client.command("s", command).await, json!(null));
    }
    let level = client.command("s", json!({ "cmd": "set_thinking_level", "level": "low" })).await;
    assert!(level["level"].is_string(), "{level}");
    if pi == Pi::Now {
        let (code, said) = client.refused("s", json!({ "cmd": "compact" })).await;
        assert_eq!(code, "invalid_state", "there is nothing to compact: {said}");
    }
    let (code, _) = client.refused("s", json!({ "cmd": "delegate", "target_session_id": "t", "message": "m" })).await;
    assert_eq!(code, "unsupported");
    let other = client.command("s", json!({ "cmd": "session.new" })).await["session_id"].clone();
    assert!(other.as_str().unwrap().starts_with("ses_"));
}
