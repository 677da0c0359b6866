//! A panic in any actor of octo: that actor begins anew, clients attach again where they stood, the agent notices nothing.

use octo_e2e::{Client, Instance, Options, Script, arm};
use serde_json::json;
use std::time::Duration;

/// Kind and message of each fail point, and what makes an actor come there.
const POINTS: [(&str, &str, By); 8] = [
    ("connection", "start", By::Connecting),
    ("connection", "read", By::Connecting),
    ("session", "start", By::Attaching),
    ("user", "follow", By::Attaching),
    ("user", "sweep", By::Waiting),
    ("users", "sweep", By::Waiting),
    ("runner", "*", By::LosingTheLink),
    ("runner", "start", By::LosingTheLink),
];

#[derive(Clone, Copy, PartialEq)]
enum By {
    Connecting,
    Attaching,
    Waiting,
    LosingTheLink,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_any_actor_of_octo_is_mended_by_its_supervisor_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let point = directory.path().join("point");
    let mut options = Options::scripted();
    options.env.push(("OCTO_FAIL_POINT".to_owned(), point.display().to_string()));
    let mut instance = Instance::new(options);
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses", &instance.workspace()).await;
    let agents = instance.agents();
    for (number, (kind, message, by)) in POINTS.into_iter().enumerate() {
        arm(&point, &format!("octo {kind} {message}"));
        let end = tokio::time::Instant::now() + 2 * octo_e2e::PATIENCE;
        let mut round = 0;
        while point.exists() {
            round += 1;
            match by {
                By::Connecting => {
                    let mut stranger = Client::new(&instance.url(), client.token());
                    let _ = tokio::time::timeout(Duration::from_secs(2), stranger.try_reconnect()).await;
                }
                By::Attaching => {
                    let mut other = Client::new(&instance.url(), client.token());
                    other.reconnect().await;
                    // One that nobody follows yet.
                    let session = format!("other-{number}-{round}");
                    let config = json!({"harness": "pi", "cwd": instance.workspace(), "provider": "demo", "model": "scripted"});
                    let made = other.try_command(&session, json!({"cmd": "session.create", "config": config})).await;
                    let _ = made;
                }
                By::LosingTheLink if round % 50 == 1 => {
                    // A runner that ends takes its agents along: it is the link that is looked at here.
                    instance.runner().signal(nix::sys::signal::Signal::SIGTERM);
                    let _ = client.try_command("", json!({"cmd": "list_sessions"})).await;
                }
                By::Waiting | By::LosingTheLink => {}
            }
            assert!(tokio::time::Instant::now() < end, "nobody came to {kind} {message}: {}", instance.stderr());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // The client is where it was: with a new connection, if its own was among those that ended.
        let prompt = json!({"cmd": "prompt", "message": Script::deltas(30).prompt("Speak."), "client_id": format!("after-{number}")});
        let end = tokio::time::Instant::now() + octo_e2e::PATIENCE;
        loop {
            if !client.is_connected() {
                client.reconnect().await;
            }
            let attached = client.attach("ses").await.is_some_and(|answer| answer["success"] == true);
            if attached && client.try_command("ses", prompt.clone()).await.is_some_and(|answer| answer["success"] == true) {
                break;
            }
            assert!(tokio::time::Instant::now() < end, "after {kind} {message} the session is not back: {}", instance.stderr());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let wanted = format!("after-{number}");
        let mut said = false;
        while !said {
            client.event("ses", |frame| frame["event"] == "stream.done").await.unwrap();
            said = client.history("ses").await.iter().any(|message| message["client_id"] == wanted.as_str());
        }
        if by != By::LosingTheLink {
            assert!(agents.iter().all(octo_e2e::Process::is_alive), "{kind} {message}: the agent noticed");
        }
    }
    let history = client.history("ses").await;
    client.checker.agrees_with("ses", &history);
    assert!(instance.octo_pid().is_some_and(|pid| octo_e2e::Process::of(pid).is_some_and(|octo| octo.is_alive())));
}
