//! Nothing is lost, doubled or reordered.

use crate::support::{Client, Dice, Instance};
use octo::auth::Role;
use octo_protocol::event::EventKind;
use octo_protocol::{Cursor, Event};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attached_without_a_cursor_in_the_middle_of_a_message_a_client_gets_messages_then_the_rest_then_lives() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    runner.begin("s", "m1", 3);
    runner.finish("s", "m1", "0 1 2 ");
    runner.begin("s", "m2", 4);
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    client.attach("s").await;
    let seen = client.seen("s");
    assert_eq!(seen.messages.len(), 1);
    assert_eq!(seen.open["m2"], "0 1 2 3 ");
    assert_eq!(seen.events[0], "messages");
    runner.delta("s", "m2", "more");
    client.reach("s", runner.head("s")).await;
    let end = runner.finish("s", "m2", "0 1 2 3 more");
    client.reach("s", end).await;
    client.seen("s").agrees(&runner.messages("s"));
    assert_eq!(client.seen("s").brackets, 1, "live frames stand outside of brackets");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_anywhere_and_attached_again_a_client_has_what_history_has() {
    for seed in 0..25 {
        println!("seed {seed}");
        let mut dice = Dice::new(seed);
        let instance = Instance::start().await;
        let runner = instance.runner("alice");
        runner.open("s");
        let token = instance.token("alice", Role::User).await;
        let mut client = Client::connect(&instance, &token).await;
        client.attach("s").await;
        let mut message = 0;
        for _ in 0..dice.roll(8) + 3 {
            for _ in 0..dice.roll(4) {
                message += 1;
                let id = format!("m{message}");
                let deltas = dice.roll(30) as usize;
                runner.begin("s", &id, deltas);
                runner.put("s", Event::ToolProgress { tool_call_id: "t".to_owned(), name: "bash".to_owned(), partial_output: json!("…") });
                let text: String = (0..deltas).map(|n| format!("{n} ")).collect();
                if dice.roll(5) > 0 {
                    runner.finish("s", &id, &text);
                } else {
                    runner.put("s", Event::MessageDiscarded { message_id: id, reason: "retried".to_owned() });
                }
            }
            // Some way into the stream, the client's connection or the link is cut.
            for _ in 0..dice.roll(40) {
                if client.seen("s").cursor.as_ref().is_some_and(|c| c.seq >= runner.head("s")) {
                    break;
                }
                client.read().await.unwrap();
            }
            match dice.roll(3) {
                0 => {
                    client = client.reconnect(&instance, &token).await;
                    client.attach("s").await;
                }
                1 => runner.cut(),
                _ => {}
            }
        }
        client.reach("s", runner.head("s")).await;
        let seen = client.seen("s");
        seen.agrees(&runner.messages("s"));
        assert_eq!(seen.resyncs, Vec::<String>::new(), "a cursor of this epoch holds");
        instance.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_started_again_continues_from_the_cursor() {
    let mut instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let token = instance.token("alice", Role::User).await;
    let mut client = Client::connect(&instance, &token).await;
    client.attach("s").await;
    for round in 0..5 {
        let id = format!("m{round}");
        runner.begin("s", &id, 20);
        client.read().await.unwrap();
        instance = instance.killed_and_started().await;
        runner.finish("s", &id, "done");
        client = client.reconnect(&instance, &instance.token("alice", Role::User).await).await;
        client.attach("s").await;
    }
    client.reach("s", runner.head("s")).await;
    client.seen("s").agrees(&runner.messages("s"));
    assert!(client.seen("s").resyncs.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_falls_off_the_ring_catches_up_from_the_journal_and_delays_nobody() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let token = instance.token("alice", Role::User).await;
    let mut slow = Client::connect(&instance, &token).await;
    let mut fast = Client::connect(&instance, &token).await;
    slow.attach("s").await;
    fast.attach("s").await;
    let filler = "x".repeat(4096);
    for round in 0..30 {
        let id = format!("m{round}");
        runner.begin("s", &id, 0);
        for _ in 0..300 {
            runner.delta("s", &id, &filler);
        }
        fast.reach("s", runner.head("s")).await;
        runner.finish("s", &id, "long");
        // The slow one reads nothing at all.
        fast.reach("s", runner.head("s")).await;
    }
    fast.seen("s").agrees(&runner.messages("s"));
    assert_eq!(fast.seen("s").brackets, 1, "the fast one never left the ring");
    slow.reach("s", runner.head("s")).await;
    slow.seen("s").agrees(&runner.messages("s"));
    assert!(slow.seen("s").brackets > 1, "the slow one came through the journal");
    assert!(slow.seen("s").seen.len() < fast.seen("s").seen.len(), "and over what was pruned meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_cut_in_mid_stream_is_told_and_resumed() {
    let instance = Instance::start().await;
    let mut runner = instance.runner("alice");
    runner.open("s");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    client.attach("s").await;
    runner.begin("s", "m1", 5);
    client.reach("s", 6).await;
    runner.hide();
    client.until(|c| c.seen("s").events.iter().any(|e| e == "session.unreachable")).await;
    let response = client.ask("s", "get_messages", json!({})).await;
    assert_eq!(response["code"], "runner_unavailable", "{response}");
    runner.delta("s", "m1", "meanwhile");
    runner.listen();
    client.until(|c| c.seen("s").events.iter().any(|e| e == "session.reachable")).await;
    let end = runner.finish("s", "m1", "whole");
    client.reach("s", end).await;
    client.seen("s").agrees(&runner.messages("s"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_ends_only_where_the_attach_was_told_that_the_journal_ends_however_stale_the_ring_is() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    let token = instance.token("alice", Role::User).await;
    for (n, seq) in [None, Some(3), Some(11)].into_iter().enumerate() {
        let session = format!("s{n}");
        runner.open(&session);
        let mut first = Client::connect(&instance, &token).await;
        first.attach(&session).await;
        runner.begin(&session, "m1", 10);
        first.reach(&session, 11).await;
        // The ring stays where it is; the journal goes on.
        runner.stall(true);
        runner.begin(&session, "m2", 7);
        let head = runner.head(&session);
        let mut client = Client::connect(&instance, &token).await;
        let checker = client.checkers.entry(session.clone()).or_default();
        checker.cursor = seq.map(|seq| Cursor { epoch: "e1".parse().unwrap(), seq });
        client.begin_attach(&session).await;
        // The journal itself gives what the ring does not have.
        client.until(|client| client.seen(&session).cursor.as_ref().is_some_and(|cursor| cursor.seq >= head)).await;
        assert!(!client.seen(&session).live(), "from {seq:?}: the ring is not there yet");
        runner.stall(false);
        let end = runner.finish(&session, "m2", "0 1 2 3 4 5 6 ");
        client.reach(&session, end).await;
        first.reach(&session, end).await;
        assert_eq!(client.seen(&session).brackets, 1, "from {seq:?}: one pair of brackets, and live from there");
        assert!(client.seen(&session).resyncs.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_started_anew_gives_every_client_the_messages_again() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    runner.begin("s", "m1", 2);
    runner.finish("s", "m1", "old");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    client.attach("s").await;
    runner.renew("s", "e2");
    runner.begin("s", "n1", 2);
    let end = runner.finish("s", "n1", "new");
    client.until(|c| c.seen("s").messages.contains_key("n1")).await;
    client.reach("s", end).await;
    assert_eq!(client.seen("s").resyncs.len(), 1);
    assert_eq!(client.seen("s").cursor.as_ref().unwrap().epoch.as_str(), "e2");
    client.seen("s").agrees(&runner.messages("s"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_does_not_hold_is_answered_with_the_messages() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    runner.begin("s", "m1", 2);
    runner.finish("s", "m1", "text");
    let token = instance.token("alice", Role::User).await;
    for cursor in [Cursor { epoch: "e0".parse().unwrap(), seq: 1 }, Cursor { epoch: "e1".parse().unwrap(), seq: 1000 }] {
        let mut client = Client::connect(&instance, &token).await;
        client.checkers.entry("s".to_owned()).or_default().cursor = Some(cursor);
        client.attach("s").await;
        assert_eq!(client.seen("s").resyncs.len(), 1);
        client.seen("s").agrees(&runner.messages("s"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_attach_replaces_the_cursor_of_the_first() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    runner.begin("s", "m1", 3);
    runner.finish("s", "m1", "text");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    client.attach("s").await;
    client.checkers.get_mut("s").unwrap().cursor.as_mut().unwrap().seq = 2;
    client.checkers.get_mut("s").unwrap().messages.clear();
    client.checkers.get_mut("s").unwrap().seen.clear();
    client.attach("s").await;
    runner.begin("s", "m2", 3);
    let end = runner.finish("s", "m2", "text");
    client.reach("s", end).await;
    // One stream: with two, the checker would have seen doubles.
    client.seen("s").agrees(&runner.messages("s"));
    let listed = client.ask("", "list_sessions", json!({})).await;
    assert_eq!(listed["data"]["sessions"][0]["subscriber_count"], 1);
    assert_eq!(client.ask("s", "session.detach", json!({})).await["success"], true);
    runner.begin("s", "m3", 3);
    assert_eq!(client.ask("s", "get_state", json!({})).await["success"], true);
    assert_eq!(client.seen("s").cursor.as_ref().unwrap().seq, end, "nothing comes after a detach");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_be_shown_keeps_its_place() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    client.attach("s").await;
    runner.put_raw("s", EventKind::Normal, b"{\"event\":\"x\",\"seq\":77}");
    runner.put_raw("s", EventKind::Normal, b"not json");
    let end = runner.put_raw("s", EventKind::Normal, b"{\"event\":\"some.future_event\",\"a\":1}");
    client.reach("s", end).await;
    assert_eq!(client.seen("s").events[3..], ["notify", "notify", "some.future_event"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_deleted_while_attached_is_closed_for_everybody() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    client.attach("s").await;
    runner.delete("s");
    client.until(|c| c.seen("s").events.iter().any(|e| e == "session.closed")).await;
    let response = client.ask("s", "get_state", json!({})).await;
    assert_eq!(response["code"], "session_not_found");
    assert!(response["error"].as_str().unwrap().contains("SessionNotFound"));
    // Created again under the same id it is another session, and can be followed.
    runner.open("s");
    client.checkers.clear();
    client.attach("s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_with_the_same_session_id_never_meet() {
    let instance = Instance::start().await;
    let (alices, bobs) = (instance.runner("alice"), instance.runner("bob"));
    for (runner, text) in [(&alices, "of alice"), (&bobs, "of bob")] {
        runner.open("s");
        runner.begin("s", "m1", 1);
        runner.finish("s", "m1", text);
    }
    let mut alice = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let mut bob = Client::connect(&instance, &instance.token("bob", Role::User).await).await;
    alice.attach("s").await;
    bob.attach("s").await;
    alice.seen("s").agrees(&alices.messages("s"));
    bob.seen("s").agrees(&bobs.messages("s"));
    alices.begin("s", "m2", 1);
    let end = alices.finish("s", "m2", "more");
    alice.reach("s", end).await;
    assert_eq!(bob.seen("s").messages.len(), 1);
    for id in ["alice/s", "alice/s2", "ALICE/s", "alice%2Fs", "alice/../alice/s", "alice//s", "/s", "s\u{0}"] {
        for cmd in ["session.attach", "get_messages", "prompt", "session.delete", "session.create"] {
            let response = bob.ask(id, cmd, json!({"message": "x"})).await;
            assert_eq!(response["success"], false, "{id} {cmd}");
            let code = response["code"].as_str().unwrap();
            assert!(matches!(code, "session_not_found" | "invalid_request"), "{id} {cmd}: {code}");
        }
    }
    assert_eq!(alices.seen().len(), 1, "nothing of bob's came to the runner of alice");
    // An admin names whose it is.
    let mut admin = Client::connect(&instance, &instance.token("root", Role::Admin).await).await;
    admin.attach("alice/s").await;
    admin.seen("alice/s").agrees(&alices.messages("s"));
    assert_eq!(alices.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_embeds_octo_sees_what_a_browser_sees() {
    use futures_util::StreamExt as _;
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    runner.begin("s", "m1", 2);
    runner.finish("s", "m1", "text");
    let session = instance.octo.user("alice").unwrap().attach("s".parse().unwrap()).await.unwrap();
    let mut events = session.events(octo::From::Start).await.unwrap();
    session.prompt("hello").await.unwrap();
    let mut names = Vec::new();
    while names.last() != Some(&"replay.end") {
        names.push(events.next().await.unwrap().payload.event.name());
    }
    assert_eq!(names, ["replay.start", "stream.message_end", "replay.end"]);
    runner.put("s", Event::AgentIdle { message_version: None });
    assert_eq!(events.next().await.unwrap().seq, Some(runner.head("s")));
    runner.delete("s");
    while let Some(event) = events.next().await {
        names.push(event.payload.event.name());
    }
    assert_eq!(names.last(), Some(&"session.closed"), "and the stream ends with the session");
    assert!(instance.octo.user("Not a user").is_err());
}
