//! The runner is replaced in place: its agents go on in the middle of whatever they are at, or the old one does.

use crate::small_disk::{SmallDisk, elsewhere};
use crate::support::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use octo_protocol::link::{Event, Frame, Upgrade};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

type Seen = Vec<(Event, Value)>;

/// Takes in what comes until the old program is gone; a client of the new one.
async fn replaced(runner: &TestRunner, old: &mut Client) -> Client {
    let before = old.welcome.clone().unwrap();
    while let Some(frame) = old.frame().await {
        old.take(frame).await;
    }
    let new = runner.client().await;
    let now = new.welcome.clone().unwrap();
    assert_eq!(now.pid, before.pid, "the process is the same");
    assert!(now.started_at > before.started_at, "the program is another one");
    new
}

async fn upgraded(runner: &TestRunner, old: &mut Client) -> Client {
    runner.signal(Signal::SIGUSR2);
    replaced(runner, old).await
}

/// The answer of a runner that is not replaced by `binary`.
async fn refused(runner: &TestRunner, binary: &Path) -> String {
    let mut operator = Client::operator(&runner.socket()).await;
    operator.send(Frame::Upgrade(Upgrade { binary: binary.to_str().unwrap().to_owned() })).await;
    loop {
        match operator.frame().await {
            Some(Frame::Refused(refused)) => return refused.reason,
            Some(frame) => operator.take(frame).await,
            None => panic!("it was replaced by {}", binary.display()),
        }
    }
}

async fn agent_of(client: &mut Client, session: &str) -> i32 {
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    let row = list["sessions"].as_array().unwrap().iter().find(|s| s["session_id"] == session).unwrap().clone();
    i32::try_from(row["pid"].as_i64().unwrap_or_else(|| panic!("{row}"))).unwrap()
}

/// What came to a client and was not looked at, and then `new` goes on behind it.
async fn go_on(seen: &mut Seen, old: &mut Client, new: &mut Client, session: &str) {
    let rest = old.events.remove(&1).unwrap_or_default();
    seen.extend(rest.into_iter().map(|event| {
        let payload = serde_json::from_slice(&event.payload).unwrap();
        (event, payload)
    }));
    let last = seen.iter().map(|(event, _)| event.seq).max().unwrap();
    let epoch = old.begun[&1].epoch.clone();
    new.subscribe_with(1, session, Some(epoch), Some(last), None, 1_000_000).await;
}

fn text_of(seen: &Seen) -> String {
    seen.iter().filter(|(_, p)| p["event"] == "stream.text_delta").map(|(_, p)| p["delta"].as_str().unwrap()).collect()
}

fn count(seen: &Seen, name: &str) -> usize {
    seen.iter().filter(|(_, p)| p["event"] == name).count()
}

/// Children of the runner that have ended and were not waited for.
fn zombies(runner: &TestRunner) -> usize {
    let parent = runner.pid().to_string();
    let stats =
        std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(|e| std::fs::read_to_string(e.path().join("stat")).ok());
    stats.filter(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.split_whitespace().take(2).eq(["Z", parent.as_str()]))).count()
}

fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z")
}

async fn until_gone(pid: i32) {
    let began = std::time::Instant::now();
    while alive(pid) {
        assert!(began.elapsed() < PATIENCE, "process {pid} is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A runner on a path of its own, which can be installed anew.
async fn installed() -> TestRunner {
    let mut runner = TestRunner::prepare();
    let program = runner.root.join("bin/octo-runner");
    std::fs::create_dir(runner.root.join("bin")).unwrap();
    install(Path::new(env!("CARGO_BIN_EXE_octo-runner")), &program);
    install(&Path::new(env!("CARGO_BIN_EXE_octo-runner")).with_file_name("octo-sandbox"), &program.with_file_name("octo-sandbox"));
    runner.binary = Some(program);
    runner.spawn().await;
    runner
}

/// As a package manager does: another file takes the place of the old one.
fn install(from: &Path, to: &Path) {
    let fresh = to.with_extension("new");
    std::fs::copy(from, &fresh).unwrap();
    std::fs::rename(&fresh, to).unwrap();
}

fn script(runner: &TestRunner, name: &str, text: &str) -> PathBuf {
    let path = runner.root.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn ten_upgrades_in_the_middle_of_one_answer_lose_double_and_reorder_nothing_and_the_agent_stays() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let agent = agent_of(&mut client, "s1").await;
    client.prompt("s1", "drip 1500").await.unwrap();
    let mut seen = client.until(1, "stream.text_delta").await;
    for _ in 0..10 {
        let mut new = upgraded(&runner, &mut client).await;
        go_on(&mut seen, &mut client, &mut new, "s1").await;
        client = new;
        seen.extend(client.until(1, "stream.text_delta").await);
        assert_eq!(agent_of(&mut client, "s1").await, agent);
    }
    assert!(text_of(&seen).len() < 6000, "the answer is not over yet");
    seen.extend(client.until(1, "agent.idle").await);
    assert_contiguous(&seen, 1);
    let expected: String = (0..1500).map(|n| format!("{n} ")).collect();
    assert_eq!(text_of(&seen), expected);
    assert_eq!((count(&seen, "stream.message_start"), count(&seen, "stream.done"), count(&seen, "session.restarted")), (1, 1, 0));
    client.prompt("s1", "say after").await.unwrap();
    let after = client.until(1, "agent.idle").await;
    assert!(after.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: after"), "not resumed: the same agent");
    assert_eq!(zombies(&runner), 0);
}

#[tokio::test]
async fn a_tool_a_question_and_what_waits_for_them_go_on() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    for session in ["tool", "ask"] {
        client.open(session, &runner.work()).await;
    }
    let agents = [agent_of(&mut client, "tool").await, agent_of(&mut client, "ask").await];
    client.subscribe(1, "tool", 0).await;
    client.subscribe(2, "ask", 0).await;
    client.prompt("tool", "tool").await.unwrap();
    let mut tool = client.until(1, "tool.progress").await;
    client.command("tool", json!({ "cmd": "steer", "message": "faster", "client_id": "steer" })).await.unwrap();
    client.prompt("ask", "ask").await.unwrap();
    let asked = client.until(2, "agent.input_needed").await;
    client.command("ask", json!({ "cmd": "follow_up", "message": "say one", "client_id": "one" })).await.unwrap();
    client.command("ask", json!({ "cmd": "follow_up", "message": "say two", "client_id": "two" })).await.unwrap();
    let before = client.command("ask", json!({ "cmd": "get_state" })).await.unwrap();

    let mut new = upgraded(&runner, &mut client).await;
    assert_eq!([agent_of(&mut new, "tool").await, agent_of(&mut new, "ask").await], agents);
    let state = new.command("ask", json!({ "cmd": "get_state" })).await.unwrap();
    assert_eq!(state, before, "as though nothing had been");
    assert_eq!((state["status"].as_str(), state["pendingInput"][0]["request_id"].as_str()), (Some("needs_input"), Some("q1")));
    let state = new.command("tool", json!({ "cmd": "get_state" })).await.unwrap();
    assert_eq!(state["runningTools"][0]["toolCallId"], "call_1", "{state}");
    assert!(state["runningTools"][0]["partialOutput"].to_string().contains("line"), "{state}");

    // Idempotent also across it.
    new.command("ask", json!({ "cmd": "follow_up", "message": "say two", "client_id": "two" })).await.unwrap();
    go_on(&mut tool, &mut client, &mut new, "tool").await;
    new.command("tool", json!({ "cmd": "abort" })).await.unwrap();
    tool.extend(new.until(1, "agent.idle").await);
    assert_contiguous(&tool, 1);
    assert_eq!((count(&tool, "tool.start"), count(&tool, "tool.end")), (1, 1));
    assert!(tool.iter().any(|(_, p)| p["event"] == "tool.end" && p["output"].to_string().contains("stopped")), "the tool's own end");
    let steered = tool.iter().filter(|(_, p)| p["message"]["client_id"] == "steer" && p["event"] == "stream.message_end").count();
    assert_eq!(steered, 1);

    let last = asked.last().unwrap().0.seq;
    new.subscribe(2, "ask", last).await;
    new.command("ask", json!({ "cmd": "input_response", "request_id": "q1", "confirmed": true })).await.unwrap();
    let mut turns: Seen = Vec::new();
    while !turns.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: two") {
        turns.extend(new.until(2, "stream.message_end").await);
    }
    turns.extend(new.until(2, "agent.idle").await);
    assert_contiguous(&turns, last + 1);
    let said: Vec<&str> = turns
        .iter()
        .filter(|(_, p)| p["event"] == "stream.message_end" && p["message"]["role"] == "assistant")
        .map(|(_, p)| p["message"]["parts"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(said, ["answered True", "you said: one", "you said: two"]);
}

#[tokio::test]
async fn what_an_agent_has_not_read_reaches_it_whole() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let agent = Pid::from_raw(agent_of(&mut client, "s1").await);
    // More than a pipe holds: it stands half in the pipe and half in the runner.
    let long = "x".repeat(1_000_000);
    kill(agent, Signal::SIGSTOP).unwrap();
    client.prompt("s1", &format!("say {long}")).await.unwrap();
    for _ in 0..2 {
        let mut new = upgraded(&runner, &mut client).await;
        new.subscribe(1, "s1", 0).await;
        client = new;
    }
    kill(agent, Signal::SIGCONT).unwrap();
    let seen = client.until(1, "agent.idle").await;
    assert_contiguous(&seen, 1);
    let said = seen.iter().rfind(|(_, p)| p["event"] == "stream.message_end").unwrap();
    assert!(said.1["message"]["parts"][0]["text"] == format!("you said: {long}"));
    assert_eq!(agent_of(&mut client, "s1").await, agent.as_raw());
}

#[tokio::test]
async fn an_agent_that_was_handed_over_is_ended_and_started_again_like_any_other() {
    let mut runner = TestRunner::start().await;
    let mut client = runner.client().await;
    for session in ["dies", "closes", "hangs", "sleeps"] {
        client.open(session, &runner.work()).await;
    }
    client.prompt("hangs", "sleep").await.unwrap();
    client.subscribe(1, "dies", 0).await;
    let mut client = upgraded(&runner, &mut client).await;
    client.subscribe(1, "dies", 0).await;
    let first = agent_of(&mut client, "dies").await;
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let restarted = client.until(1, "session.restarted").await;
    assert!(restarted.last().unwrap().1["reason"].as_str().unwrap().contains("signal 9"), "the end is told as it was: {restarted:?}");
    assert_ne!(agent_of(&mut client, "dies").await, first);

    let closes = agent_of(&mut client, "closes").await;
    client.command("closes", json!({ "cmd": "session.close" })).await.unwrap();
    until_gone(closes).await;
    assert_eq!(zombies(&runner), 0);

    let agents = [agent_of(&mut client, "dies").await, agent_of(&mut client, "hangs").await, agent_of(&mut client, "sleeps").await];
    let _client = upgraded(&runner, &mut client).await;
    // Nobody but the runner holds a life line: with it all of them end.
    runner.kill().await;
    for agent in agents {
        until_gone(agent).await;
    }
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("last", &runner.work()).await;
    let mut client = upgraded(&runner, &mut client).await;
    let last = agent_of(&mut client, "last").await;
    runner.signal(Signal::SIGTERM);
    assert!(runner.wait().await.success());
    until_gone(last).await;
    assert!(!runner.socket().exists());
}

#[tokio::test]
async fn a_program_that_cannot_go_on_is_told_from_one_that_can_and_harms_nobody() {
    let runner = installed().await;
    let program = runner.binary.clone().unwrap();
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let agent = agent_of(&mut client, "s1").await;
    client.prompt("s1", "hang").await.unwrap();
    client.until(1, "stream.text_delta").await;
    let real = program.display();
    let at_second = |second: &str| format!("#!/bin/sh\nif [ -e \"$0.asked\" ]; then\n{second}\nfi\n: > \"$0.asked\"\nexec {real} \"$@\"\n");
    let open_to_all = script(&runner, "open", "#!/bin/sh\n");
    std::fs::set_permissions(&open_to_all, PermissionsExt::from_mode(0o777)).unwrap();
    let not_executable = script(&runner, "plain", "");
    std::fs::set_permissions(&not_executable, PermissionsExt::from_mode(0o644)).unwrap();
    let foreign = script(&runner, "foreign", "");
    // An ELF header of a machine that this is not.
    std::fs::write(&foreign, [b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xff\x7f\x01\0\0\0".as_slice(), &[0; 64]].concat()).unwrap();
    let newer = r#"#!/bin/sh
echo '{"software":"octo-runner 9","refusal":"the state of the runner is of version 1, and this build reads version 2"}'
"#;
    let cases = [
        (runner.root.join("nowhere"), "cannot be used"),
        (runner.root.clone(), "it is not a file"),
        (PathBuf::from("bin/octo-runner"), "does not begin at /"),
        (not_executable, "cannot be used"),
        (open_to_all, "others can change"),
        (foreign, "is not taken"),
        (PathBuf::from("/bin/true"), "does not say whether it can go on"),
        (script(&runner, "crash", "#!/bin/sh\necho 'no such option' >&2\nexit 3\n"), "no such option"),
        (script(&runner, "newer", newer), "this build reads version 2"),
        (script(&runner, "hang", "#!/bin/sh\nexec sleep 1000\n"), "did not say within"),
        // Everybody is at rest by then.
        (script(&runner, "crash-late", &at_second("kill -9 $$")), "SIGKILL"),
        (script(&runner, "changes", &at_second(": >> \"$0\"; touch \"$0\"; exec cat \"$0.verdict\"")), "changed while"),
    ];
    std::fs::write(runner.root.join("changes.verdict"), r#"{"software":"octo-runner 9","refusal":null}"#).unwrap();
    for (binary, reason) in cases {
        let said = refused(&runner, &binary).await;
        assert!(said.contains("goes on as before") && said.contains(reason), "{}: {said}", binary.display());
        // The very same link, agent and turn.
        assert_eq!(agent_of(&mut client, "s1").await, agent);
        let state = client.command("s1", json!({ "cmd": "get_state" })).await.unwrap();
        assert_eq!(state["status"], "working");
        assert!(runner.log().contains(reason), "the log says it too");
    }
    client.command("s1", json!({ "cmd": "follow_up", "message": "say after" })).await.unwrap();
    let mut operator = Client::operator(&runner.socket()).await;
    operator.post(Client::command_body("s1", json!({ "cmd": "get_state" }))).await;
    let mut said = Vec::new();
    while let Some(frame) = operator.frame().await {
        said.push(frame);
    }
    assert!(said.iter().all(|frame| !matches!(frame, Frame::Response(_))), "an operator gets no answers: {said:?}");
    let refused = said.iter().any(|frame| matches!(frame, Frame::Refused(why) if why.reason.contains("asks for upgrades only")));
    assert!(refused, "and hears why: {said:?}");

    // And one that can, at the path it was started by, although the file there is another one by now.
    install(Path::new(env!("CARGO_BIN_EXE_octo-runner")), &program);
    let exe = || std::fs::read_link(format!("/proc/{}/exe", runner.pid())).unwrap();
    assert!(exe().to_str().unwrap().ends_with("(deleted)"));
    let mut client = upgraded(&runner, &mut client).await;
    assert_eq!(exe(), program);
    assert_eq!(agent_of(&mut client, "s1").await, agent);
    client.command("s1", json!({ "cmd": "abort" })).await.unwrap();
}

#[tokio::test]
async fn a_program_that_ends_after_it_said_yes_leaves_a_whole_journal() {
    let mut runner = installed().await;
    let program = runner.binary.clone().unwrap();
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let agent = agent_of(&mut client, "s1").await;
    client.prompt("s1", "drip 3000").await.unwrap();
    let mut seen = client.until(1, "stream.text_delta").await;
    let liar =
        script(&runner, "liar", &format!("#!/bin/sh\ncase \"$*\" in *--examine*) exec {} \"$@\";; esac\nexit 9\n", program.display()));
    let mut operator = Client::operator(&runner.socket()).await;
    operator.send(Frame::Upgrade(Upgrade { binary: liar.to_str().unwrap().to_owned() })).await;
    assert_eq!(runner.wait().await.code(), Some(9));
    while let Some(frame) = client.frame().await {
        client.take(frame).await;
    }
    until_gone(agent).await;
    runner.spawn().await;
    let mut new = runner.client().await;
    go_on(&mut seen, &mut client, &mut new, "s1").await;
    seen.extend(new.until(1, "agent.idle").await);
    assert_contiguous(&seen, 1);
    assert_eq!(count(&seen, "stream.message_discarded"), 1, "as after a kill");
}

#[tokio::test]
async fn a_disk_that_takes_no_writes_puts_the_upgrade_off_and_everything_goes_on() {
    if elsewhere() {
        return;
    }
    let mut runner = TestRunner::prepare();
    let disk = SmallDisk::mount(&runner.data_dir(), 3);
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let agent = agent_of(&mut client, "s1").await;
    client.prompt("s1", "drip 600").await.unwrap();
    let mut seen = client.until(1, "stream.text_delta").await;
    disk.fill();
    // What the journal has reserved still takes some; then nothing more, however often it is tried again.
    let (began, mut in_a_row) = (std::time::Instant::now(), 0);
    while in_a_row < 4 {
        assert!(began.elapsed() < PATIENCE, "the disk takes everything");
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        let asked = client.command("s1", json!({ "cmd": "get_commands" })).await;
        in_a_row = if asked.is_err_and(|(_, sentence)| sentence.contains("make room")) { in_a_row + 1 } else { 0 };
    }
    let said = refused(&runner, Path::new("")).await;
    assert!(said.contains("does not come to rest") && said.contains("journal"), "{said}");
    assert_eq!(agent_of(&mut client, "s1").await, agent);
    disk.make_room();
    let mut new = upgraded(&runner, &mut client).await;
    assert_eq!(agent_of(&mut new, "s1").await, agent);
    go_on(&mut seen, &mut client, &mut new, "s1").await;
    // What the agent had written meanwhile may all have come before the upgrade.
    if count(&seen, "agent.idle") == 0 {
        seen.extend(new.until(1, "agent.idle").await);
    }
    assert_contiguous(&seen, 1);
    assert_eq!(text_of(&seen), (0..600).map(|n| format!("{n} ")).collect::<String>());
    assert_eq!(count(&seen, "session.restarted"), 0);
}

#[tokio::test]
async fn whoever_asks_first_finds_every_session_with_its_agent() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    for session in ["a", "b", "c"] {
        client.open(session, &runner.work()).await;
    }
    let before = [agent_of(&mut client, "a").await, agent_of(&mut client, "b").await, agent_of(&mut client, "c").await];
    for _ in 0..20 {
        client = upgraded(&runner, &mut client).await;
        let now = [agent_of(&mut client, "a").await, agent_of(&mut client, "b").await, agent_of(&mut client, "c").await];
        assert_eq!(now, before);
    }
    assert!(before.into_iter().all(alive));
    client.command("b", json!({ "cmd": "get_commands" })).await.unwrap();
}

/// Between its last look at its signals and the first of the next program there is an exec, with which all handlers go.
#[tokio::test]
async fn told_to_end_or_to_be_replaced_in_the_very_moment_of_an_upgrade_the_next_program_does_it() {
    let mut runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    let agent = agent_of(&mut client, "s1").await;

    runner.arm("executing 1 SIGUSR2");
    let mut second = upgraded(&runner, &mut client).await;
    let mut third = replaced(&runner, &mut second).await;
    assert_eq!(agent_of(&mut third, "s1").await, agent);

    runner.arm("executing 1 SIGTERM");
    runner.signal(Signal::SIGUSR2);
    let status = tokio::time::timeout(PATIENCE, runner.wait()).await.expect("it goes on though it was told to end");
    assert!(status.success(), "{status}");
    until_gone(agent).await;
}
