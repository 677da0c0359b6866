//! The signal that replaces a runner, in the first milliseconds of its life; and what of it its agents inherit.

use crate::support::*;
use nix::libc::SIGUSR2;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::json;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A line of `/proc/<pid>/status`.
fn status(pid: i32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
}

fn signals(pid: i32, name: &str) -> u64 {
    u64::from_str_radix(&status(pid, name), 16).unwrap_or_else(|_| panic!("{name} of {pid}"))
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn asked_to_be_replaced_in_its_first_milliseconds_a_runner_lives_and_is_replaced_when_it_serves() {
    let mut runner = TestRunner::prepare();
    runner.detached = true;
    // It stays where it has neither a runtime nor a handler: its log is a pipe that nobody reads.
    let logs = runner.root.join("state/logs");
    std::fs::create_dir_all(&logs).unwrap();
    let pipe = logs.join("octo-runner-alice.log");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    runner.begin();
    let pid = runner.pid();
    until("main has begun: it has a session of its own", || status(pid, "NSsid").split_whitespace().last() == Some(&pid.to_string())).await;
    runner.signal(Signal::SIGUSR2);

    // Open for writing too, so that it never ends.
    let mut reader = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    });
    runner.until_it_answers().await;
    until("the next program takes over", || said.lock().unwrap().contains("taking over")).await;
    runner.until_it_answers().await;
    assert_eq!(runner.pid(), pid);

    // Whoever it starts now is held back from nothing.
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    let agent = i32::try_from(list["sessions"][0]["pid"].as_i64().unwrap()).unwrap();
    assert_eq!(signals(agent, "SigBlk"), 0);
    let mut process = agent;
    while process != pid {
        let held = (signals(process, "SigBlk") | signals(process, "SigIgn")) & (1 << (SIGUSR2 - 1));
        assert_eq!(held, 0, "{} inherits what is the runner's own", status(process, "Name"));
        process = status(process, "PPid").parse().unwrap();
        assert!(process > 1, "the agent is below its runner");
    }
}
