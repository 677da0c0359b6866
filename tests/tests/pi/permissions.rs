//! Permissions of a real pi: asked with what a person needs to decide, answered once, remembered, closed by a stop.

use super::{Pi, find, has, prompt, to_the_end, until};
use octo_e2e::{Client, Instance, Turn, demo_prompt, request};
use serde_json::{Value, json};

with_both!(
    a_command_is_asked_for_allowed_once_always_and_denied,
    a_change_of_a_file_is_shown_as_a_diff,
    a_question_is_closed_by_a_stop_and_lives_through_a_restart_of_octo,
);

const ASK: &str = "[permissions]\ndefault = \"ask\"\n[permissions.tools]\nREAD = \"allow\"\n";

async fn question(client: &mut Client) -> Value {
    until(client, |frame| frame["event"] == "agent.input_needed").await.pop().unwrap()["request"].clone()
}

async fn answer(client: &mut Client, request: &Value, option: &str) {
    client.command("s", json!({ "cmd": "input_response", "request_id": request["request_id"], "option_id": option })).await;
}

fn runs(command: &str) -> String {
    demo_prompt("Run.", &[Turn::text("").bash(command), Turn::text("That was it.")])
}

async fn a_command_is_asked_for_allowed_once_always_and_denied(pi: Pi) {
    let (instance, mut client) = pi.start(ASK).await;
    let made = |name: &str| instance.workspace().join(name).exists();
    prompt(&mut client, &runs("touch once")).await;
    let asked = question(&mut client).await;
    let metadata = &asked["metadata"];
    assert_eq!((&asked["type"], &metadata["tool"], &metadata["command"]), (&json!("permission"), &json!("bash"), &json!("touch once")));
    assert!(!made("once"), "nothing runs before it is allowed");
    answer(&mut client, &asked, "allow_once").await;
    let seen = to_the_end(&mut client).await;
    let decided = find(&seen, "permission.decided");
    assert_eq!((&decided["by"], &decided["allowed"], &decided["tool_call_id"]), (&json!("user"), &json!(true), &metadata["tool_call_id"]));
    assert!(made("once"));

    prompt(&mut client, &runs("touch denied")).await;
    let asked = question(&mut client).await;
    let said = json!({ "cmd": "input_response", "request_id": asked["request_id"], "option_id": "deny_once", "value": "not here" });
    client.command("s", said).await;
    let seen = to_the_end(&mut client).await;
    let end = find(&seen, "tool.end");
    assert_eq!(end["is_error"], true);
    assert!(end["output"].to_string().contains("Denied by the user: not here"), "the agent hears why: {end}");
    assert!(!made("denied"));

    prompt(&mut client, &runs("touch always")).await;
    let asked = question(&mut client).await;
    answer(&mut client, &asked, "allow_tool").await;
    to_the_end(&mut client).await;
    prompt(&mut client, &runs("touch unasked")).await;
    let seen = to_the_end(&mut client).await;
    assert!(!has(&seen, "agent.input_needed") && made("unasked"));
    assert_eq!(find(&seen, "permission.decided")["by"], "rule");

    // The same by REST: seen, forgotten, and asked again.
    let rest = async |method: &str, path: &str, body: Option<&Value>| {
        request(method, &format!("{}/api/permissions{path}", instance.url()), Some(client.token()), body).await.unwrap()
    };
    let listed = rest("GET", "", None).await.json();
    assert_eq!((&listed["policy"]["default"], &listed["policy"]["tools"]["READ"]), (&json!("ask"), &json!("allow")));
    assert_eq!((&listed["rules"][0]["tool"], &listed["rules"][0]["uses"]), (&json!("bash"), &json!(1)));
    let id = listed["rules"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(rest("DELETE", &format!("/{id}"), None).await.status, 204);
    assert_eq!(rest("DELETE", &format!("/{id}"), None).await.status, 400);
    let made_by_hand = rest("POST", "", Some(&json!({ "mode": "deny", "tool": "bash", "subject": "touch never" }))).await;
    assert_eq!((made_by_hand.status, &made_by_hand.json()["mode"]), (201, &json!("deny")));
    prompt(&mut client, &runs("touch never")).await;
    assert_eq!(find(&to_the_end(&mut client).await, "permission.decided")["by"], "rule");
    assert!(!made("never"));
}

async fn a_change_of_a_file_is_shown_as_a_diff(pi: Pi) {
    let (instance, mut client) = pi.start(ASK).await;
    let file = instance.workspace().join("song.txt");
    std::fs::write(&file, "one\ntwo\nthree\nfour\n").unwrap();
    let tool = |name: &str, input: Value| {
        let script = json!([{ "text": "", "tools": [{ "name": name, "input": input }] }, { "text": "done" }]);
        format!("Change. @demo {script}")
    };
    prompt(&mut client, &tool("write", json!({ "path": "song.txt", "content": "one\n2\nthree\nfour\n" }))).await;
    let asked = question(&mut client).await;
    assert_eq!(asked["metadata"]["path"], file.to_str().unwrap());
    let diff = asked["metadata"]["diff"].as_str().unwrap();
    assert!(diff.contains("\n one\n-two\n+2\n three\n"), "{diff}");
    answer(&mut client, &asked, "allow_once").await;
    to_the_end(&mut client).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\n2\nthree\nfour\n");
    prompt(&mut client, &tool("edit", json!({ "path": "song.txt", "edits": [{ "oldText": "hree", "newText": "HREE" }] }))).await;
    let asked = question(&mut client).await;
    let diff = asked["metadata"]["diff"].as_str().unwrap();
    assert!(diff.contains("@@ -1,") && diff.contains("\n 2\n-three\n+tHREE\n four"), "{diff}");
    answer(&mut client, &asked, "deny_once").await;
    to_the_end(&mut client).await;
    prompt(&mut client, &tool("read", json!({ "path": "song.txt" }))).await;
    assert!(!has(&to_the_end(&mut client).await, "agent.input_needed"), "the configuration lets this tool run, whatever its capitals");
}

async fn a_question_is_closed_by_a_stop_and_lives_through_a_restart_of_octo(pi: Pi) {
    let (mut instance, mut client) = pi.start(ASK).await;
    prompt(&mut client, &runs("touch stopped")).await;
    let asked = question(&mut client).await;
    client.command("s", json!({ "cmd": "abort" })).await;
    let seen = to_the_end(&mut client).await;
    assert_eq!(find(&seen, "agent.input_resolved")["request_id"], asked["request_id"]);
    let (code, said) = client.refused("s", json!({ "cmd": "input_response", "request_id": asked["request_id"], "confirmed": true })).await;
    assert!(code == "invalid_request" && said.contains("no open question"), "{said}");

    prompt(&mut client, &runs("touch later")).await;
    let asked = question(&mut client).await;
    instance.kill_octo();
    client.cut();
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("s", &instance.workspace()).await;
    assert_eq!(client.command("s", json!({ "cmd": "get_state" })).await["pendingInput"][0], asked);
    let mut second = another(&instance).await;
    answer(&mut second, &asked, "allow_once").await;
    // The first device sees that it is answered; its own answer comes too late.
    until(&mut client, |frame| frame["event"] == "agent.input_resolved").await;
    let (code, _) =
        client.refused("s", json!({ "cmd": "input_response", "request_id": asked["request_id"], "option_id": "deny_once" })).await;
    assert_eq!(code, "invalid_request");
    client.idle("s").await;
    assert!(instance.workspace().join("later").exists() && !instance.workspace().join("stopped").exists());
}

async fn another(instance: &Instance) -> Client {
    let mut client = Client::connect(instance).await;
    client.create("s", &instance.workspace()).await;
    client
}
