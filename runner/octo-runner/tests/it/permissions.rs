//! Permissions: what a rule or the policy decides is no question; what a person decides is remembered, and one that nobody decides decides itself.

use crate::support::*;
use nix::sys::signal::Signal;
use octo_protocol::ErrorCode;
use octo_protocol::link::Event;
use serde_json::{Value, json};

type Seen = Vec<(Event, Value)>;

async fn asking(further: &[&str]) -> TestRunner {
    let mut runner = TestRunner::prepare();
    runner.arguments(further);
    runner.spawn().await;
    runner
}

async fn opened(runner: &TestRunner) -> Client {
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client
}

/// What the agent said it was answered.
fn answered(seen: &Seen) -> String {
    let text = seen.iter().rev().find_map(|(_, p)| p["message"]["parts"][0]["text"].as_str().filter(|text| text.starts_with("answered")));
    text.unwrap_or_else(|| panic!("the agent was not answered: {seen:?}")).trim_start_matches("answered ").to_owned()
}

fn only<'a>(seen: &'a Seen, name: &str) -> &'a Value {
    let mut found = seen.iter().map(|(_, p)| p).filter(|p| p["event"] == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name} in {seen:?}"));
    assert!(found.next().is_none(), "more than one {name} in {seen:?}");
    first
}

fn has(seen: &Seen, name: &str) -> bool {
    seen.iter().any(|(_, p)| p["event"] == name)
}

async fn permit(client: &mut Client, what: &str) -> Seen {
    client.prompt("s1", &format!("permit {what}")).await.unwrap();
    client.until(1, "agent.idle").await
}

/// Asks, and waits for the question.
async fn question(client: &mut Client, what: &str) -> Value {
    client.prompt("s1", &format!("permit {what}")).await.unwrap();
    client.until(1, "agent.input_needed").await.last().unwrap().1["request"].clone()
}

async fn answer(client: &mut Client, request: &Value, mut answer: Value) -> Result<Value, (ErrorCode, String)> {
    answer["cmd"] = "input_response".into();
    answer["request_id"] = request["request_id"].clone();
    client.command("s1", answer).await
}

async fn rules(client: &mut Client) -> Vec<Value> {
    client.command("", json!({ "cmd": "permission.list" })).await.unwrap()["rules"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_fresh_octo_lets_tools_run_and_nobody_hears_of_a_question() {
    let runner = TestRunner::start().await;
    let mut client = opened(&runner).await;
    let seen = permit(&mut client, "bash rm -rf /").await;
    assert_eq!(answered(&seen), "allow_once");
    for silent in ["agent.input_needed", "agent.input_resolved", "permission.decided"] {
        assert!(!has(&seen, silent), "{silent} in {seen:?}");
    }
    assert_contiguous(&seen, 1);
    let state = client.command("s1", json!({ "cmd": "get_state" })).await.unwrap();
    assert_eq!(state["permissions"], "allow");
}

#[tokio::test]
async fn an_answer_for_always_is_a_rule_that_decides_from_then_on_also_after_a_kill_and_until_it_is_removed() {
    let mut runner = asking(&["--permission-default", "ask"]).await;
    let mut client = opened(&runner).await;
    let request = question(&mut client, "bash make test").await;
    assert_eq!((&request["type"], &request["metadata"]["command"]), (&json!("permission"), &json!("make test")));
    let offered: Vec<_> = request["options"].as_array().unwrap().iter().map(|o| o["option_id"].as_str().unwrap()).collect();
    assert_eq!(offered, ["allow_once", "allow_this", "allow_hour", "allow_tool", "deny_once", "deny_tool"]);
    let state = client.command("s1", json!({ "cmd": "get_state" })).await.unwrap();
    assert_eq!((&state["status"], &state["pendingInput"][0]), (&json!("needs_input"), &request));
    assert_eq!(answer(&mut client, &request, json!({ "option_id": "nonsense" })).await.unwrap_err().0, ErrorCode::InvalidRequest);

    assert_eq!(answer(&mut client, &request, json!({ "option_id": "allow_this" })).await, Ok(json!(null)));
    let seen = client.until(1, "agent.idle").await;
    assert_eq!(answered(&seen), "allow_once", "the agent asks again the next time");
    let decided = only(&seen, "permission.decided");
    assert_eq!(
        (&decided["allowed"], &decided["by"], &decided["tool"], &decided["subject"]),
        (&json!(true), &json!("user"), &json!("bash"), &json!("make test"))
    );
    assert_eq!(only(&seen, "agent.input_resolved")["by"], "user");
    let late = answer(&mut client, &request, json!({ "confirmed": false })).await.unwrap_err();
    assert!(late.1.contains("no open question"), "{late:?}");

    let seen = permit(&mut client, "bash make test").await;
    assert!(!has(&seen, "agent.input_needed"), "{seen:?}");
    let by_rule = only(&seen, "permission.decided");
    assert_eq!((&by_rule["by"], &by_rule["rule_id"], &by_rule["tool_call_id"]), (&json!("rule"), &decided["rule_id"], &json!("call_0")));

    // A kill loses nothing of it.
    let last = seen.last().unwrap().0.seq;
    runner.kill().await;
    runner.spawn().await;
    let mut client = runner.client().await;
    client.subscribe(1, "s1", last).await;
    let kept = rules(&mut client).await;
    assert_eq!(kept.len(), 1);
    let rule = &kept[0];
    assert_eq!(
        (&rule["uses"], &rule["created_by"], &rule["session_id"], &rule["subject"]),
        (&json!(1), &json!("alice"), &json!("s1"), &json!("make test"))
    );
    assert_eq!(rule["workspace"], runner.work());
    let seen = permit(&mut client, "BASH make test").await;
    assert_eq!(only(&seen, "permission.decided")["by"], "rule", "a tool's capitals do not matter");
    let request = question(&mut client, "bash make install").await;
    answer(&mut client, &request, json!({ "confirmed": false })).await.unwrap();
    assert_eq!(answered(&client.until(1, "agent.idle").await), "deny_once\nDenied by the user");

    let id = rule["id"].clone();
    client.command("", json!({ "cmd": "permission.remove", "rule_id": id })).await.unwrap();
    assert!(client.command("", json!({ "cmd": "permission.remove", "rule_id": id })).await.unwrap_err().1.contains("there is no rule"));
    let request = question(&mut client, "bash make test").await;
    answer(&mut client, &request, json!({ "option_id": "deny_tool", "value": "use the Makefile of the parent" })).await.unwrap();
    assert_eq!(answered(&client.until(1, "agent.idle").await), "deny_once\nDenied by the user: use the Makefile of the parent");
    let seen = permit(&mut client, "bash anything").await;
    assert_eq!(answered(&seen), "deny_once\nDenied by a rule that the user has set");
}

#[tokio::test]
async fn a_question_that_nobody_answers_answers_itself_as_the_configuration_says_and_the_late_answer_is_refused() {
    let runner = asking(&["--permission-default", "ask", "--permission-timeout-secs", "1"]).await;
    let mut client = opened(&runner).await;
    let request = question(&mut client, "bash ls").await;
    assert_eq!(request["metadata"]["on_timeout"], "deny");
    assert!(request["metadata"]["expires_at"].as_i64().unwrap() > 0);
    let seen = client.until(1, "agent.idle").await;
    assert_eq!(answered(&seen), "deny_once\nNobody answered in time");
    let decided = only(&seen, "permission.decided");
    assert_eq!((&decided["by"], &decided["allowed"]), (&json!("timeout"), &json!(false)));
    assert_eq!(only(&seen, "agent.input_resolved")["by"], "timeout");
    assert!(answer(&mut client, &request, json!({ "confirmed": true })).await.is_err());
    let seen = permit(&mut client, "bash again").await;
    assert!(has(&seen, "agent.input_needed") && answered(&seen).starts_with("deny_once"), "the session goes on: {seen:?}");

    let runner = asking(&["--permission-default", "ask", "--permission-timeout-secs", "1", "--permission-on-timeout", "allow"]).await;
    let mut client = opened(&runner).await;
    assert_eq!(answered(&permit(&mut client, "bash ls").await), "allow_once");
}

#[tokio::test]
async fn what_is_remembered_in_one_session_or_by_hand_decides_what_is_open_in_another() {
    let runner = asking(&["--permission-default", "ask"]).await;
    let mut client = opened(&runner).await;
    client.request(Client::open_body("s2", json!({ "cwd": runner.work() }))).await.unwrap();
    client.subscribe(2, "s2", 0).await;
    let request = question(&mut client, "bash make test").await;
    client.prompt("s2", "permit bash make test").await.unwrap();
    client.until(2, "agent.input_needed").await;
    answer(&mut client, &request, json!({ "option_id": "allow_this" })).await.unwrap();
    let seen = client.until(2, "agent.idle").await;
    assert_eq!(only(&seen, "agent.input_resolved")["by"], "rule");
    assert_eq!(answered(&seen), "allow_once");

    client.prompt("s2", "permit bash make install").await.unwrap();
    client.until(2, "agent.input_needed").await;
    client
        .command("", json!({ "cmd": "permission.add", "rule": { "mode": "deny", "tool": "bash", "subject": "make install" } }))
        .await
        .unwrap();
    let seen = client.until(2, "agent.idle").await;
    assert_eq!(only(&seen, "agent.input_resolved")["by"], "rule");
    assert!(answered(&seen).starts_with("deny_once"));
}

#[tokio::test]
async fn a_question_that_nobody_answers_in_time_is_dismissed_and_says_before_how_long_it_stays() {
    let runner = asking(&["--permission-timeout-secs", "1"]).await;
    let mut client = opened(&runner).await;
    client.prompt("s1", "ask").await.unwrap();
    let seen = client.until(1, "agent.idle").await;
    assert_eq!(only(&seen, "agent.input_needed")["request"]["timeout"], 1000);
    assert_eq!(only(&seen, "agent.input_resolved")["by"], "timeout");
    assert_eq!(answered(&seen), "None", "the agent hears that nobody chose");
}

#[tokio::test]
async fn an_open_question_goes_through_the_replacement_of_the_runner_and_so_does_its_time() {
    let runner = asking(&["--permission-default", "ask", "--permission-timeout-secs", "5"]).await;
    let mut client = opened(&runner).await;
    let request = question(&mut client, "bash ls").await;
    let epoch = client.begun[&1].epoch.clone();
    let last = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap()["sessions"][0]["seq"].as_u64().unwrap();
    runner.signal(Signal::SIGUSR2);
    while let Some(frame) = client.frame().await {
        client.take(frame).await;
    }
    let mut client = runner.client().await;
    client.subscribe_with(1, "s1", Some(epoch), Some(last), None, 1_000_000).await;
    let state = client.command("s1", json!({ "cmd": "get_state" })).await.unwrap();
    assert_eq!(state["pendingInput"][0], request);
    // octo's own options are taken, and not only the agent's.
    answer(&mut client, &request, json!({ "option_id": "allow_hour" })).await.unwrap();
    assert_eq!(answered(&client.until(1, "agent.idle").await), "allow_once");
    assert!(rules(&mut client).await[0]["expires_at"].as_i64().unwrap() > 0);

    let _ = question(&mut client, "write /x").await;
    let epoch = client.begun[&1].epoch.clone();
    let last = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap()["sessions"][0]["seq"].as_u64().unwrap();
    runner.signal(Signal::SIGUSR2);
    while let Some(frame) = client.frame().await {
        client.take(frame).await;
    }
    let mut client = runner.client().await;
    client.subscribe_with(1, "s1", Some(epoch), Some(last), None, 1_000_000).await;
    let seen = client.until(1, "agent.idle").await;
    assert_eq!(only(&seen, "agent.input_resolved")["by"], "timeout");
}

#[tokio::test]
async fn a_sessions_own_word_counts_at_once_for_what_is_open_and_is_kept() {
    let mut runner = asking(&["--permission-default", "allow", "--permission-tool", "write=deny", "--permission-tool", "Bash=ask"]).await;
    let mut client = runner.client().await;
    client.request(Client::open_body("s1", json!({ "cwd": runner.work(), "permissions": "ask" }))).await.unwrap();
    client.subscribe(1, "s1", 0).await;
    question(&mut client, "read /etc/hosts").await;
    assert_eq!(client.command("s1", json!({ "cmd": "set_permissions", "mode": "allow" })).await, Ok(json!({ "mode": "allow" })));
    let seen = client.until(1, "agent.idle").await;
    assert_eq!(answered(&seen), "allow_once");
    assert_eq!(only(&seen, "config.permissions_changed")["mode"], "allow");
    assert_eq!(
        (&only(&seen, "permission.decided")["by"], &only(&seen, "agent.input_resolved")["by"]),
        (&json!("policy"), &json!("policy"))
    );

    // What the configuration says of a tool comes before it, and its denial before any rule.
    let request = question(&mut client, "bash ls").await;
    answer(&mut client, &request, json!({ "confirmed": true })).await.unwrap();
    client.until(1, "agent.idle").await;
    let all = json!({ "cmd": "permission.add", "rule": { "mode": "allow" } });
    client.command("", all).await.unwrap();
    let seen = permit(&mut client, "write /etc/passwd").await;
    assert_eq!(answered(&seen), "deny_once\nDenied by the policy of this session");
    assert_eq!(only(&seen, "permission.decided")["by"], "policy");
    assert_eq!(only(&permit(&mut client, "bash ls").await, "permission.decided")["by"], "rule");

    client.command("s1", json!({ "cmd": "set_permissions", "mode": "deny" })).await.unwrap();
    runner.kill().await;
    runner.spawn().await;
    let mut client = runner.client().await;
    let state = client.command("s1", json!({ "cmd": "get_state" })).await.unwrap();
    assert_eq!(state["permissions"], "deny");
}

#[tokio::test]
async fn an_abort_closes_the_question_and_a_rule_that_has_expired_is_none() {
    let runner = asking(&["--permission-default", "ask"]).await;
    let mut client = opened(&runner).await;
    let add = json!({ "cmd": "permission.add", "rule": { "mode": "allow", "tool": "bash", "expires_in_ms": 1 } });
    client.command("", add).await.unwrap();
    while !rules(&mut client).await.is_empty() {}
    client.prompt("s1", "hang").await.unwrap();
    client.until(1, "stream.text_delta").await;
    client.command("s1", json!({ "cmd": "abort" })).await.unwrap();
    client.until(1, "agent.idle").await;
    let request = question(&mut client, "bash ls").await;
    // The agent dies with the question open.
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    let pid = i32::try_from(list["sessions"][0]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let seen = client.until(1, "agent.error").await;
    assert_eq!(only(&seen, "agent.input_resolved")["request_id"], request["request_id"]);
    assert!(!has(&seen, "permission.decided"));
    client.until(1, "session.restarted").await;
    let request = question(&mut client, "bash ls").await;
    answer(&mut client, &request, json!({ "cancelled": true })).await.unwrap();
    assert!(answered(&client.until(1, "agent.idle").await).starts_with("deny_once"));
}

/// Printed, not judged: what asking costs when nobody has to be asked.
#[tokio::test]
async fn the_way_of_a_question_through_the_policy_is_measured() {
    let runner = TestRunner::start().await;
    let mut client = opened(&runner).await;
    client.prompt("s1", "permits 500").await.unwrap();
    let seen = client.until(1, "agent.idle").await;
    let said = seen.iter().find_map(|(_, p)| p["message"]["parts"][0]["text"].as_str().filter(|text| text.contains("each in")));
    let said = said.unwrap_or_else(|| panic!("{seen:?}"));
    assert!(said.starts_with("['allow_once'], each in"), "{said}");
    println!("500 questions that the policy answers: {said}");
}

#[tokio::test]
async fn rules_that_make_no_sense_are_refused_and_those_of_a_session_are_no_commands_of_it() {
    let runner = TestRunner::start().await;
    let mut client = opened(&runner).await;
    for (rule, word) in [
        (json!({ "mode": "allow", "workspace": "here" }), "absolute"),
        (json!({ "mode": "allow", "tool": "" }), "tool"),
        (json!({ "mode": "perhaps" }), "perhaps"),
    ] {
        let (code, said) = client.command("", json!({ "cmd": "permission.add", "rule": rule })).await.unwrap_err();
        assert!(code == ErrorCode::InvalidRequest && said.contains(word), "{said}");
    }
    let policy = client.command("", json!({ "cmd": "permission.list" })).await.unwrap()["policy"].clone();
    assert_eq!(policy, json!({ "tools": {}, "on_timeout": "deny" }));
}
