//! The provider of the models fails in every way: a real pi behind octo-eavs retries, or its turn ends with a sentence; no tool runs twice for it.

use octo_e2e::{Client, Instance, Turn, demo_prompt};
use serde_json::json;

async fn started() -> (Instance, Client) {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses", &instance.workspace()).await;
    (instance, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_provider_and_a_cut_answer_are_tried_again_and_no_tool_runs_twice() {
    let (instance, mut client) = started().await;
    let turns = [Turn::text("First the tool.").bash("echo ran >> ran.log").failing(529, 1), Turn::text("Then the answer.").failing(503, 1)];
    client.command("ses", json!({"cmd": "prompt", "message": demo_prompt("Go.", &turns), "client_id": "one"})).await;
    let mut retries = 0;
    client
        .event("ses", |frame| {
            retries += u32::from(frame["event"] == "retry.start");
            frame["event"] == "agent.idle" || frame["event"] == "agent.error"
        })
        .await
        .unwrap();
    assert!(retries >= 1, "people see that it is tried again");
    assert_eq!(std::fs::read_to_string(instance.workspace().join("ran.log")).unwrap(), "ran\n");
    let history = client.history("ses").await;
    assert_eq!(history.last().unwrap()["parts"][0]["text"], "Then the answer.");
    client.checker.agrees_with("ses", &history);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_or_speaks_nonsense_ends_the_turn_and_the_next_one_works() {
    let (_instance, mut client) = started().await;
    for (number, turn) in [Turn::text("Never.").failing(400, 9), Turn::text("Never.").malformed()].into_iter().enumerate() {
        let prompt = json!({"cmd": "prompt", "message": demo_prompt("Go.", &[turn]), "client_id": format!("bad{number}")});
        client.command("ses", prompt).await;
        let end = client.event("ses", |frame| frame["event"] == "agent.error" || frame["event"] == "agent.idle").await.unwrap();
        assert_eq!(end["event"], "agent.error", "a sentence, and not silence: {end}");
        client
            .command(
                "ses",
                json!({"cmd": "prompt", "message": demo_prompt("Go.", &[Turn::text("Fine.")]), "client_id": format!("good{number}")}),
            )
            .await;
        client.idle("ses").await;
    }
    let history = client.history("ses").await;
    client.checker.agrees_with("ses", &history);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_ends_is_aborted_and_the_request_at_the_provider_with_it() {
    let (_instance, mut client) = started().await;
    let endless = Turn::text("word ".repeat(2000)).slowly(2000, 1000);
    client.command("ses", json!({"cmd": "prompt", "message": demo_prompt("Go.", &[endless]), "client_id": "one"})).await;
    client.event("ses", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    client.command("ses", json!({"cmd": "abort"})).await;
    client.idle("ses").await;
    client.command("ses", json!({"cmd": "prompt", "message": demo_prompt("Go.", &[Turn::text("Next.")]), "client_id": "two"})).await;
    client.idle("ses").await;
    let history = client.history("ses").await;
    assert_eq!(history.last().unwrap()["parts"][0]["text"], "Next.");
    client.checker.agrees_with("ses", &history);
}
