//! Kills: what was seen is there, what was open is closed, nothing is left behind.

use crate::support::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z")
}

async fn gone(pid: i32) {
    let began = std::time::Instant::now();
    while alive(pid) {
        assert!(began.elapsed() < PATIENCE, "process {pid} is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_killed_runner_leaves_no_process_a_whole_journal_an_aborted_turn_and_a_session_that_resumes() {
    let mut runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say before").await.unwrap();
    let mut seen = client.until(1, "agent.idle").await;
    client.prompt("s1", "sleep").await.unwrap();
    seen.extend(client.until(1, "stream.text_delta").await);
    let state = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    let agent = i32::try_from(state["sessions"][0]["pid"].as_i64().unwrap()).unwrap();
    assert!(alive(agent));
    let epoch = client.begun[&1].epoch.clone();
    let last = seen.last().unwrap().0.seq;

    runner.kill().await;
    gone(agent).await;
    let sleepers = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|e| {
        let cmdline = std::fs::read(e.path().join("cmdline")).unwrap_or_default();
        let inside = std::fs::read(e.path().join("environ")).unwrap_or_default();
        cmdline.starts_with(b"sleep\x009876") && inside.windows(KEY.len()).any(|w| w == KEY.as_bytes()) && {
            let home = runner.root.join("home");
            inside.windows(home.as_os_str().len()).any(|w| w == home.as_os_str().as_encoded_bytes())
        }
    });
    assert!(!sleepers, "the tool's process outlived the runner");

    runner.spawn().await;
    let mut client = runner.client().await;
    // The same epoch: the kernel did not start again. The cursor goes on where it was.
    client.subscribe_with(1, "s1", Some(epoch), Some(last), None, 1_000_000).await;
    let closing = client.until(1, "agent.idle").await;
    assert_contiguous(&closing, last + 1);
    let names = names(&closing);
    assert!(names.contains(&"stream.message_discarded".to_owned()) && names.contains(&"stream.done".to_owned()), "{names:?}");
    assert_eq!(closing.iter().find(|(_, p)| p["event"] == "stream.done").unwrap().1["reason"], "aborted");
    let attached = client.command("s1", json!({ "cmd": "session.attach" })).await.unwrap();
    assert_eq!(attached["state"]["status"], "idle");
    client.prompt("s1", "say after").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: after (resumed)"));
    let page = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    let roles: Vec<&str> = page["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "user", "assistant"]);
}

#[tokio::test]
async fn input_that_was_accepted_and_not_handed_over_is_handed_over_after_a_kill_and_only_then() {
    let mut runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "hang").await.unwrap();
    client.until(1, "stream.text_delta").await;
    client.command("s1", json!({ "cmd": "follow_up", "message": "say later", "client_id": "later" })).await.unwrap();
    runner.kill().await;
    runner.spawn().await;
    let mut client = runner.client().await;
    client.subscribe(1, "s1", 0).await;
    client.until(1, "agent.idle").await;
    let events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: later"), "{:?}", names(&events));
    let page = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    let users = page["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "user").count();
    assert_eq!(users, 2, "the prompt that hung was not handed over again");
}

#[tokio::test]
async fn sigterm_ends_the_agents_and_exits_with_0() {
    let mut runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.prompt("s1", "hang").await.unwrap();
    let state = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    let agent = i32::try_from(state["sessions"][0]["pid"].as_i64().unwrap()).unwrap();
    runner.signal(Signal::SIGTERM);
    assert!(runner.wait().await.success());
    gone(agent).await;
    assert!(!runner.socket().exists());
    assert!(runner.journal().exists());
}

#[tokio::test]
async fn an_agent_that_is_killed_again_and_again_stays_down_with_a_sentence_until_the_next_prompt() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    for restart in 0..4 {
        let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
        let agent = i32::try_from(list["sessions"][0]["pid"].as_i64().unwrap()).unwrap();
        kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
        if restart < 3 {
            let events = client.until(1, "session.restarted").await;
            assert_eq!(events.last().unwrap().1["attempt"], restart + 1);
        }
    }
    let events = client.until(1, "agent.error").await;
    assert!(events.last().unwrap().1["error"].as_str().unwrap().contains("again and again"));
    client.prompt("s1", "say back").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"].as_str().is_some_and(|t| t.starts_with("you said: back"))));
}

#[tokio::test]
async fn kills_at_any_moment_of_a_stream_lose_and_double_nothing_that_was_seen() {
    let mut runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    let mut seen: Vec<(u64, serde_json::Value)> = Vec::new();
    for round in 0..6usize {
        let after = seen.last().map_or(0, |(seq, _)| *seq);
        client.subscribe(1, "s1", after).await;
        let prompt = json!({ "cmd": "prompt", "message": "stream 400", "client_id": format!("c{round}") });
        let posted = client.post(Client::command_body("s1", prompt)).await;
        // Another moment in each round: soon after the prompt, in the middle of the deltas, around the end.
        for _ in 0..(1 + round * 83) {
            let (event, payload) = client.event(1).await;
            let over = payload["event"] == "agent.idle" && seen.iter().any(|(_, p)| p["client_id"] == format!("c{round}"));
            if event.seq > 0 {
                seen.push((event.seq, payload));
            }
            if over {
                break;
            }
        }
        let _ = client.answer(posted).await;
        runner.kill().await;
        runner.spawn().await;
        client = runner.client().await;
    }
    client.subscribe(1, "s1", 0).await;
    let last = client.prompt("s1", "say the end").await;
    assert_eq!(last, Ok(json!(null)));
    let mut kept = std::collections::BTreeMap::new();
    loop {
        let (event, payload) = client.event(1).await;
        assert!(event.seq == 0 || kept.insert(event.seq, payload.clone()).is_none(), "{} came twice", event.seq);
        if payload["message"]["parts"][0]["text"].as_str().is_some_and(|t| t.starts_with("you said: the end")) {
            break;
        }
    }
    // What was seen is what the journal has, but for deltas whose message has ended.
    let mut before = 0;
    for (seq, payload) in &seen {
        assert!(*seq > before, "{seq} after {before}");
        before = *seq;
        match kept.get(seq) {
            Some(kept) => assert_eq!(kept, payload),
            None => assert!(payload["message_id"].is_string(), "event {seq} is lost: {payload}"),
        }
    }
    for start in kept.values().filter(|p| p["event"] == "stream.message_start") {
        let id = &start["message_id"];
        let ended = kept.values().any(|p| {
            p["event"] != "stream.message_start" && (p["message"]["id"] == *id || p["message_id"] == *id && p["reason"].is_string())
        });
        assert!(ended, "the message {id} was begun and not ended");
    }
    let accepted = kept.values().filter(|p| p["event"] == "input.accepted").count();
    let users = kept.values().filter(|p| p["event"] == "stream.message_end" && p["message"]["role"] == "user").count();
    assert_eq!((accepted, users), (7, 7), "each input was handed over once");
}

/// A session with one turn, whose runner was killed; its epoch and the newest seq that somebody saw.
async fn killed_after_a_turn() -> (TestRunner, octo_protocol::Epoch, u64) {
    let mut runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say before").await.unwrap();
    let seen = client.until(1, "agent.idle").await;
    let (epoch, last) = (client.begun[&1].epoch.clone(), seen.last().unwrap().0.seq);
    runner.kill().await;
    (runner, epoch, last)
}

#[tokio::test]
async fn after_another_boot_a_session_has_a_new_epoch_its_whole_history_and_an_agent_that_goes_on() {
    let (mut runner, epoch, last) = killed_after_a_turn().await;
    let journal = rusqlite::Connection::open(runner.journal()).unwrap();
    assert_eq!(journal.execute("UPDATE meta SET value = 'of the kernel before' WHERE key = 'boot_id'", []).unwrap(), 1);
    drop(journal);
    runner.spawn().await;
    let mut client = runner.client().await;
    client.subscribe_with(1, "s1", Some(epoch.clone()), Some(last), None, 1_000_000).await;
    assert_eq!(client.end_of(1).await, octo_protocol::link::EndReason::EpochChanged, "an old cursor would miss what is numbered anew");
    let attached = client.command("s1", json!({ "cmd": "session.attach" })).await.unwrap();
    assert_ne!(attached["epoch"], epoch.as_str());
    let page = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    client.subscribe(2, "s1", 0).await;
    client.prompt("s1", "say after").await.unwrap();
    let events = client.until(2, "agent.idle").await;
    assert_eq!(events.iter().map(|(event, _)| event.seq).find(|seq| *seq > 0), Some(1));
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: after (resumed)"));
    let told: Vec<_> = events.iter().filter(|(_, p)| p["message"].as_str().is_some_and(|m| m.contains("journal"))).collect();
    assert!(told.is_empty(), "nothing is known to be lost, so nothing is said: {told:?}");
    let page = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    let indexes: Vec<u64> = page["messages"].as_array().unwrap().iter().map(|m| m["idx"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [0, 1, 2, 3], "history goes on over the epochs");
}

#[tokio::test]
async fn a_journal_that_lost_its_end_says_so_to_whoever_attaches_and_gives_no_number_twice() {
    let (mut runner, epoch, last) = killed_after_a_turn().await;
    let log = runner.data_dir().join("journal.db-wal");
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 1).unwrap();
    runner.spawn().await;
    let mut client = runner.client().await;
    client.subscribe_with(1, "s1", Some(epoch), Some(last), None, 1_000_000).await;
    assert_eq!(client.end_of(1).await, octo_protocol::link::EndReason::EpochChanged);
    client.subscribe(2, "s1", 0).await;
    let events = client.until(2, "notify").await;
    let told = &events.last().unwrap().1;
    assert_eq!((told["level"].as_str(), events.last().unwrap().0.seq), (Some("warning"), 1));
    let sentence = told["message"].as_str().unwrap();
    assert!(sentence.contains("of this session are gone from") && sentence.contains("journal.db"), "{sentence}");
    assert!(runner.log().contains("a session's journal is not whole"));
    // A turn that the lost part had ended ends now; the next one goes on.
    client.prompt("s1", "say on").await.unwrap();
    let answered = |events: &[(octo_protocol::link::Event, serde_json::Value)]| {
        events.iter().any(|(_, p)| p["message"]["parts"][0]["text"].as_str().is_some_and(|t| t.starts_with("you said: on")))
    };
    while !answered(&client.until(2, "agent.idle").await) {}
}

#[tokio::test]
async fn a_damaged_journal_ends_the_start_with_a_sentence_of_the_runners_own() {
    let (mut runner, ..) = killed_after_a_turn().await;
    let whole = std::fs::read(runner.journal()).unwrap();
    std::fs::write(runner.journal(), b"").unwrap();
    let ended = runner.command().output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("octo-runner: /")
            && last.contains("journal.db is damaged or not a journal of octo (it is empty, though sessions were written to it)")
            && last.contains("restore it from a backup"),
        "{said}"
    );
    std::fs::write(runner.journal(), whole).unwrap();
    runner.spawn().await;
    let page = runner.client().await.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    assert_eq!(page["messages"].as_array().unwrap().len(), 2, "nothing was changed, and the file put back is as good as before");
}
