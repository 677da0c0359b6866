//! A runner that is stopped (SIGSTOP): clients are told, nobody takes its place, and when it goes on so does everything.

use nix::sys::signal::Signal;
use octo_e2e::{Client, Instance, Script, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_runner_is_told_of_and_not_replaced_and_its_session_goes_on_when_it_thaws() {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses", &instance.workspace()).await;
    let script = Script::deltas(400).paced(100.0);
    client.command("ses", json!({"cmd": "prompt", "message": script.prompt("Count."), "client_id": "one"})).await;
    client.event("ses", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    let (runner, agents) = (instance.runner(), instance.agents());
    runner.signal(Signal::SIGSTOP);
    let told = client.event("ses", |frame| frame["event"] == "session.unreachable").await.unwrap();
    assert!(told["reason"].as_str().unwrap().contains("silent"), "{told}");
    // Whoever asks meanwhile is told as well, and no second runner is started for it.
    let (code, sentence) = client.refused("ses", json!({"cmd": "get_state"})).await;
    assert!(code == "runner_unavailable" || code == "timeout", "{code}: {sentence}");
    assert_eq!(instance.runner(), runner);
    // Not even where its socket is gone: it holds its lock.
    let socket = instance.files_named("sock").into_iter().find(|path| path.parent().is_some_and(|dir| dir.ends_with("runners"))).unwrap();
    let kept = socket.with_extension("kept");
    std::fs::rename(&socket, &kept).unwrap();
    let (_, sentence) = client.refused("ses", json!({"cmd": "get_state"})).await;
    assert!(sentence.contains("another runner uses"), "{sentence}");
    until("only the frozen one is left", || (instance.daemons("octo-runner") == [runner.clone()]).then_some(())).await;
    std::fs::rename(&kept, &socket).unwrap();

    runner.signal(Signal::SIGCONT);
    client.event("ses", |frame| frame["event"] == "session.reachable").await.unwrap();
    client.idle("ses").await;
    assert_eq!((instance.runner(), instance.agents()), (runner, agents), "nobody was started again");
    let history = client.history("ses").await;
    assert_eq!(history[1]["parts"][0]["text"], script.text());
    client.checker.agrees_with("ses", &history);
}
