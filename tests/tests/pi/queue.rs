//! Steering and follow-ups: shown while they wait, changed while they wait, delivered in their order.

use super::{Pi, prompt, until};
use octo_e2e::{Client, Turn, demo_prompt};
use serde_json::{Value, json};

with_both!(what_waits_is_shown_can_be_replaced_and_taken_out_and_the_rest_is_delivered);

async fn queue(client: &mut Client, wanted: impl Fn(&[Value], &[Value]) -> bool) {
    until(client, |frame| {
        frame["event"] == "queue.changed" && wanted(frame["steering"].as_array().unwrap(), frame["follow_up"].as_array().unwrap())
    })
    .await;
}

async fn what_waits_is_shown_can_be_replaced_and_taken_out_and_the_rest_is_delivered(pi: Pi) {
    let (_instance, mut client) = pi.start("").await;
    prompt(&mut client, &demo_prompt("Wait.", &[Turn::text("").bash("sleep 4"), Turn::text("slept")])).await;
    until(&mut client, |frame| frame["event"] == "tool.start").await;
    let text = |what: &str| demo_prompt(what, &[Turn::text(format!("heard {what}"))]);
    for (cmd, id) in [("steer", "s1"), ("steer", "s2"), ("follow_up", "f1"), ("follow_up", "f2")] {
        client.command("s", json!({ "cmd": cmd, "message": text(id), "client_id": id })).await;
    }
    queue(&mut client, |steering, follow_up| steering.len() == 2 && follow_up.len() == 2).await;

    client.command("s", json!({ "cmd": "queue.drop", "client_id": "f1" })).await;
    // Whoever is unsure says it again.
    client.command("s", json!({ "cmd": "queue.drop", "client_id": "f1" })).await;
    let replace = json!({ "cmd": "queue.replace", "client_id": "f2", "message": text("f3"), "new_client_id": "f3" });
    client.command("s", replace.clone()).await;
    client.command("s", replace).await;
    queue(&mut client, |_, follow_up| follow_up.len() == 1 && follow_up[0]["client_id"] == "f3").await;
    let drop = json!({ "cmd": "queue.drop", "client_id": "s1" });
    let mut wanted = vec!["s1", "s2", "f3"];
    if pi == Pi::Now {
        client.command("s", drop).await;
        queue(&mut client, |steering, _| steering.len() == 1 && steering[0]["client_id"] == "s2").await;
        wanted.remove(0);
    } else {
        let (code, said) = client.refused("s", drop).await;
        assert_eq!(code, "unsupported", "this one keeps what it has: {said}");
    }
    client.idle("s").await;
    while client.command("s", json!({ "cmd": "get_state" })).await["isStreaming"] == true {
        client.idle("s").await;
    }
    let history = client.history("s").await;
    let sent: Vec<_> = history.iter().filter(|m| m["role"] == "user").filter_map(|m| m["client_id"].as_str()).collect();
    assert_eq!(sent, wanted);
    let (code, _) = client.refused("s", json!({ "cmd": "queue.drop", "client_id": "f3" })).await;
    assert_eq!(code, "invalid_state");
}
