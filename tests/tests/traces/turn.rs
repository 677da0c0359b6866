//! One turn of real pi on the demo model: every hop, in order, in one trace, and nothing of what was said.

use crate::collector::{Collector, SECRET, Span};
use octo_e2e::{Client, Instance, Options, Script, Turn, demo_prompt};
use serde_json::json;

/// The trace and the span that the client sends.
pub const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub const SPAN: &str = "00f067aa0ba902b7";

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_one_turn_holds_every_hop_in_order_and_nothing_secret() {
    let collector = Collector::start().await;
    let mut instance = Instance::new(collector.of(Options::default()));
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    client.event("ses_1", |frame| frame["event"] == "replay.end").await.unwrap();
    let turns = [
        Turn::text("marker-of-an-answer, and I will run it.").thinking("marker-of-a-thought").bash("echo marker-of-a-tool"),
        Turn::text("Done, in several pieces.").slowly(6, 5),
    ];
    let prompt = demo_prompt("marker-of-a-prompt", &turns);
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    client.command("ses_1", json!({"cmd": "prompt", "message": prompt, "client_id": "c1", "traceparent": traceparent})).await;
    let mut stamped = Vec::new();
    client
        .event("ses_1", |frame| {
            stamped.extend(frame["traceparent"].as_str().map(|context| (frame["event"].as_str().unwrap().to_owned(), context.to_owned())));
            frame["event"] == "agent.idle"
        })
        .await
        .unwrap();

    let hops = [
        "octo.command",
        "octo.link",
        "runner.accept",
        "runner.turn",
        "runner.hand_over",
        "agent.first_event",
        "runner.first_delta",
        "octo.first_delta",
        "octo.first_delivery",
        "llm.request",
        "agent.tool",
    ];
    let spans = collector.trace(TRACE, &hops).await;
    let all = |name: &str| spans.iter().filter(|span| span.name == name).cloned().collect::<Vec<Span>>();
    let one = |name: &str| {
        let mut found = all(name);
        assert_eq!(found.len(), 1, "one {name}: {spans:#?}");
        found.remove(0)
    };
    assert!(collector.spans().iter().all(|span| span.trace == TRACE), "one trace: {:#?}", collector.spans());
    assert!(spans.iter().all(|span| span.start <= span.end && span.error.is_none()), "{spans:#?}");

    // Who is below whom.
    let (command, link, accept, turn) = (one("octo.command"), one("octo.link"), one("runner.accept"), one("runner.turn"));
    assert_eq!(command.parent, SPAN, "the client's own span");
    assert_eq!((&link.parent, &accept.parent, &turn.parent), (&command.id, &link.id, &accept.id));
    let below = ["runner.hand_over", "agent.first_event", "runner.first_delta", "octo.first_delta", "octo.first_delivery", "agent.tool"];
    for name in below {
        assert_eq!(one(name).parent, turn.id, "{name}");
    }
    let requests = all("llm.request");
    assert_eq!(requests.len(), 2, "before the tool, and after it: {requests:#?}");
    assert!(requests.iter().all(|request| request.parent == turn.id && request.service == "team-eavs"));
    let services = |name: &str| one(name).service;
    assert_eq!((services("octo.link"), services("runner.turn")), ("team".to_owned(), "team-runner".to_owned()));

    // In which order the hops were passed.
    let mut request = requests[0].clone();
    if requests[1].start < request.start {
        request = requests[1].clone();
    }
    let first_byte = request.events.iter().find(|(name, _)| name == "first_byte").unwrap().1;
    let passed = [
        ("received by octo", command.start),
        ("on the link", link.start),
        ("taken by the session", accept.start),
        ("journalled", accept.end),
        ("given to the agent", one("runner.hand_over").end),
        ("asked of the model", request.start),
        ("the model's first byte", first_byte),
        ("the first delta read", one("runner.first_delta").start),
        ("the first delta with octo", one("octo.first_delta").end),
        ("the first delta at a socket", one("octo.first_delivery").end),
    ];
    // The agent does not wait for sockets.
    let meanwhile = [
        ("the first delta read", one("runner.first_delta").start),
        ("the tool begun", one("agent.tool").start),
        ("the tool done", one("agent.tool").end),
        ("settled", turn.end),
    ];
    for passed in [&passed[..], &meanwhile] {
        assert!(passed.windows(2).all(|two| two[0].1 <= two[1].1), "{passed:#?}");
    }
    // That the delta is in the journal, octo may hear before the session does, whose span ends then.
    let first_event = one("agent.first_event");
    assert!(one("runner.hand_over").end <= first_event.end && first_event.end <= one("runner.first_delta").end);
    assert!(one("runner.first_delta").end <= turn.end && accept.end <= link.end);

    // What they say, and what they do not.
    assert_eq!((turn.attributes["octo.session"].as_str(), turn.attributes["octo.harness"].as_str()), ("ses_1", "pi"));
    assert_eq!(turn.attributes["gen_ai.request.model"], "scripted");
    assert_eq!(turn.attributes["octo.stop_reason"], "stop");
    assert_eq!(one("agent.tool").attributes["octo.tool"], "bash");
    let (user, _) = instance.credentials();
    for name in ["octo.command", "runner.turn", "runner.first_delta"] {
        assert_eq!(one(name).attributes["octo.user"], user, "{name}");
    }
    assert_eq!(request.attributes["http.response.status_code"], "200");
    let raw = collector.raw();
    for secret in ["marker-of", "eavs-", client.token(), SECRET, "several pieces"] {
        assert!(!raw.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} was exported");
    }
    assert!(collector.headers().iter().all(|headers| headers["authorization"] == format!("Bearer {SECRET}").as_str()));
    assert!(instance.files_with(SECRET).is_empty(), "it is nowhere on the disk");

    // The events that carry it.
    let context = format!("00-{TRACE}-{}-01", turn.id);
    let names: Vec<&str> = stamped.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["input.accepted", "stream.thinking_delta", "agent.idle"]);
    assert!(stamped.iter().all(|(_, stamp)| *stamp == context), "{stamped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steering_message_has_its_own_trace_which_names_the_turn_that_it_reached() {
    let collector = Collector::start().await;
    let mut instance = Instance::new(collector.of(Options::scripted()));
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let slow = Script { tools: 1, ..Script::deltas(20).paced(100.0) };
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    client.command("ses_1", json!({"cmd": "prompt", "message": slow.prompt("Go."), "traceparent": traceparent})).await;
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    let own = "11111111111111111111111111111111";
    let traceparent = format!("00-{own}-{SPAN}-01");
    client.command("ses_1", json!({"cmd": "steer", "message": "left", "traceparent": traceparent})).await;
    client.idle("ses_1").await;
    let turn = collector.trace(TRACE, &["runner.turn"]).await.into_iter().find(|span| span.name == "runner.turn").unwrap();
    let spans = collector.trace(own, &["octo.command", "octo.link", "runner.accept", "runner.input"]).await;
    let input = spans.iter().find(|span| span.name == "runner.input").unwrap();
    assert_eq!(input.links, [(TRACE.to_owned(), turn.id)]);
    assert_eq!(input.parent, spans.iter().find(|span| span.name == "runner.accept").unwrap().id);
}
