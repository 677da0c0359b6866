//! The power goes: a disk keeps what was synced, and nothing else.
//!
//! A kill cannot show this, because the kernel keeps what was written. So the runner runs over `power.c`, which copies a file of the journal
//! aside whenever it is synced; then it is killed, the copies take the place of the files, and it starts under another boot id.

use crate::support::*;
use octo_protocol::link::EndReason;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Disk {
    shadow: PathBuf,
    boot_id: PathBuf,
    boots: u32,
    _directory: tempfile::TempDir,
}

impl Disk {
    /// A runner whose data directory lies on such a disk, started.
    async fn under() -> (TestRunner, Self) {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let library = at("power.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/power.c");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
        assert!(built.expect("a C compiler, which SQLite needs too").success());
        let mut disk = Self { shadow: at("shadow"), boot_id: at("boot_id"), boots: 0, _directory: directory };
        std::fs::create_dir(&disk.shadow).unwrap();
        disk.boot();
        let mut runner = TestRunner::prepare();
        for (name, value) in [
            ("LD_PRELOAD", library.as_path()),
            ("POWER_ROOT", &runner.data_dir()),
            ("POWER_SHADOW", &disk.shadow),
            ("POWER_BOOT_ID", &disk.boot_id),
        ] {
            runner.env.push((name.to_owned(), value.into()));
        }
        runner.spawn().await;
        (runner, disk)
    }

    fn boot(&mut self) {
        self.boots += 1;
        std::fs::write(&self.boot_id, format!("boot-{}", self.boots)).unwrap();
    }

    /// Files whose content was not synced whole.
    fn unsynced(&self, runner: &TestRunner) -> Vec<String> {
        let mut names: Vec<String> = files(&runner.data_dir());
        names.retain(|name| std::fs::read(self.shadow.join(name)).ok() != std::fs::read(runner.data_dir().join(name)).ok());
        names
    }

    /// The power goes and comes back.
    async fn fail(&mut self, runner: &mut TestRunner) {
        runner.kill().await;
        for name in files(&runner.data_dir()) {
            let (lost, kept) = (runner.data_dir().join(&name), self.shadow.join(&name));
            std::fs::remove_file(&lost).unwrap();
            if kept.exists() {
                std::fs::copy(kept, lost).unwrap();
            }
        }
        self.boot();
        runner.spawn().await;
    }
}

fn files(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("journal.db")).collect()
}

async fn history(client: &mut Client) -> Vec<Value> {
    client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap()["messages"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_a_client_saw_finished_survives_the_power_at_whatever_step_it_goes() {
    // The power goes right after the client saw this; the prompt is one that ends by itself.
    for step in ["response", "stream.message_end", "stream.done", "agent.idle"] {
        let (mut runner, mut disk) = Disk::under().await;
        let mut client = runner.client().await;
        client.open("s1", &runner.work()).await;
        client.subscribe(1, "s1", 0).await;
        client.prompt("s1", "say before").await.unwrap();
        let mut seen = client.until(1, "agent.idle").await;
        let (epoch, mut last) = (client.begun[&1].epoch.clone(), seen.last().unwrap().0.seq);
        client.command("s1", json!({ "cmd": "prompt", "message": "say words", "client_id": "words" })).await.unwrap();
        if step != "response" {
            seen.extend(client.until(1, step).await);
            last = seen.last().unwrap().0.seq;
        }
        disk.fail(&mut runner).await;

        let mut client = runner.client().await;
        // Numbers may be lost with the power, so none of the old epoch is ever given again.
        client.subscribe_with(1, "s1", Some(epoch.clone()), Some(last), None, 1_000_000).await;
        assert_eq!(client.end_of(1).await, EndReason::EpochChanged, "after {step}");
        // The prompt that was acknowledged runs once: it is in the conversation, or on its way there.
        client.subscribe(2, "s1", 0).await;
        while !history(&mut client).await.iter().any(|m| m["client_id"] == "words") {
            client.event(2).await;
        }
        assert_ne!(client.begun[&2].epoch, epoch);
        let history = history(&mut client).await;
        for (_, payload) in seen.iter().filter(|(_, payload)| payload["event"] == "stream.message_end") {
            let message = &payload["message"];
            let kept = history.iter().find(|m| m["id"] == message["id"]);
            assert_eq!(kept, Some(message), "after {step}: a finished message that was seen is lost");
        }
        assert_eq!(history.iter().filter(|m| m["client_id"] == "words").count(), 1, "after {step}: {history:?}");
        for (idx, message) in history.iter().enumerate() {
            assert_eq!(message["idx"], idx, "after {step}: {history:?}");
        }
    }
}

#[tokio::test]
async fn the_disk_of_these_tests_does_lose_what_was_not_synced() {
    let (mut runner, mut disk) = Disk::under().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "hang").await.unwrap();
    let seen = client.until(1, "stream.text_delta").await;
    // Deltas are committed without a sync: they are what may go.
    assert_eq!(disk.unsynced(&runner).iter().filter(|name| name.ends_with("-wal")).count(), 1);
    disk.fail(&mut runner).await;
    let mut client = runner.client().await;
    let roles: Vec<Value> = history(&mut client).await.iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["user"], "the prompt is there, and its answer never was finished");
    assert!(seen.iter().any(|(_, payload)| payload["event"] == "stream.message_end"));
}
