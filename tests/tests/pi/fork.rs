//! A fork is another session: it begins with what was said before the message, and the one that it comes from knows nothing of it.

use super::{Pi, prompt};
use octo_e2e::{Turn, demo_prompt};
use serde_json::{Value, json};

with_both!(a_fork_goes_on_from_before_a_message_and_its_origin_stays_as_it_is);

async fn a_fork_goes_on_from_before_a_message_and_its_origin_stays_as_it_is(pi: Pi) {
    let (instance, mut client) = pi.start("").await;
    let (code, _) = client.refused("s", json!({ "cmd": "fork", "entry_id": "x" })).await;
    assert_eq!(code, "invalid_state", "there is nothing yet");
    for what in ["one", "two", "two", "three"] {
        prompt(&mut client, &demo_prompt(what, &[Turn::text(format!("answer to {what}"))])).await;
        client.idle("s").await;
    }
    let points = client.command("s", json!({ "cmd": "get_fork_points" })).await;
    let points = points.as_array().unwrap();
    assert_eq!(points.len(), 4, "{points:?}");
    assert!(points[2]["preview"].as_str().unwrap().starts_with("two"));
    let before = client.command("s", json!({ "cmd": "get_state" })).await;
    let (code, _) = client.refused("s", json!({ "cmd": "fork", "entry_id": "nonsense" })).await;
    assert_eq!(code, "invalid_request");

    // The second of two that read the same.
    let forked = client.command("s", json!({ "cmd": "fork", "entry_id": points[2]["entry_id"] })).await;
    assert!(forked["text"].as_str().unwrap().starts_with("two"), "{forked}");
    assert_eq!(forked["cancelled"], false);
    let fork = forked["session_id"].as_str().unwrap().to_owned();
    assert_ne!(fork, "s");
    client.create(&fork, &instance.workspace()).await;
    let texts = |history: &[Value]| -> Vec<String> {
        history.iter().map(|m| m["parts"][0]["text"].as_str().unwrap_or_default().split(" @demo").next().unwrap().to_owned()).collect()
    };
    let of_fork = client.history(&fork).await;
    assert_eq!(texts(&of_fork), ["one", "answer to one", "two", "answer to two"]);

    client.command(&fork, json!({ "cmd": "prompt", "message": demo_prompt("instead", &[Turn::text("answer to instead")]) })).await;
    client.idle(&fork).await;
    let state = client.command(&fork, json!({ "cmd": "get_state" })).await;
    let file = std::fs::read_to_string(state["sessionFile"].as_str().unwrap()).unwrap();
    assert!(
        file.contains("answer to one") && file.contains("answer to instead") && !file.contains("answer to three"),
        "the agent has what the session shows"
    );

    // The origin goes on in its own conversation.
    let after = client.command("s", json!({ "cmd": "get_state" })).await;
    assert_eq!(after["sessionFile"], before["sessionFile"]);
    prompt(&mut client, &demo_prompt("four", &[Turn::text("answer to four")])).await;
    client.idle("s").await;
    assert_eq!(client.history("s").await.len(), 10);
    let file = std::fs::read_to_string(before["sessionFile"].as_str().unwrap()).unwrap();
    assert!(file.contains("answer to three") && file.contains("answer to four") && !file.contains("answer to instead"));

    // At the first message there is nothing before it.
    let forked = client.command("s", json!({ "cmd": "fork", "entry_id": points[0]["entry_id"] })).await;
    let fork = forked["session_id"].as_str().unwrap().to_owned();
    client.create(&fork, &instance.workspace()).await;
    assert!(client.history(&fork).await.is_empty());
    client.command(&fork, json!({ "cmd": "prompt", "message": demo_prompt("fresh", &[Turn::text("answer to fresh")]) })).await;
    client.idle(&fork).await;
}
