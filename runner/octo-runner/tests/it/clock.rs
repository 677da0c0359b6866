//! The machine's clock jumps by an hour and by ten years, to and fro: order is by number, and what waits measures time.
//!
//! The runner runs over `clock.c`, which moves the time of day and leaves alone what measures time.

use crate::support::*;
use serde_json::json;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

#[tokio::test]
async fn the_clock_may_jump_and_nothing_is_reordered_put_to_sleep_or_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let (library, offset) = (directory.path().join("clock.so"), directory.path().join("offset"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clock.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(built.expect("a C compiler, which SQLite needs too").success());
    std::fs::write(&offset, 0i64.to_ne_bytes()).unwrap();
    let jump = |seconds: i64| {
        std::fs::File::options().write(true).open(&offset).unwrap().write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    };
    let mut runner = TestRunner::prepare();
    runner.env.push(("LD_PRELOAD".to_owned(), library.into()));
    runner.env.push(("CLOCK_OFFSET".to_owned(), offset.clone().into()));
    runner.arguments(&["--idle-after-secs", "600", "--idle-check-secs", "1"]);
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let year = 365 * 86_400;
    let (mut events, mut times, mut agents) = (Vec::new(), Vec::new(), Vec::new());
    for (number, seconds) in [0, 3600, -3600, 10 * year, -10 * year, 0].into_iter().enumerate() {
        jump(seconds);
        client.looks(2).await;
        client.prompt("s1", &format!("say {number}")).await.unwrap();
        let turn = client.until(1, "agent.idle").await;
        times.push(turn.last().unwrap().0.ts);
        events.extend(turn);
        agents.push(client.command("", json!({ "cmd": "list_sessions" })).await.unwrap()["sessions"][0]["pid"].as_i64().unwrap());
    }
    assert!(times[3] - times[2] > 9 * 365 * 86_400_000 && times[4] < times[1], "the runner did see these times: {times:?}");
    assert_contiguous(&events, 1);
    agents.dedup();
    assert_eq!(agents.len(), 1, "the agent worked on under one pid");
    let page = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    let said: Vec<&str> = page["messages"].as_array().unwrap().iter().map(|m| m["parts"][0]["text"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..6).flat_map(|n| [format!("say {n}"), format!("you said: {n}")]).collect();
    assert_eq!(said, expected, "history is in the order in which it happened");
}
