//! Faults of the journal and its disk.

use crate::room::{is_well, names, prompt, with};
use octo_e2e::disk::{SmallDisk, elsewhere};
use octo_e2e::{Client, Instance, Options, Script};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// 8. A full disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_with_the_file_that_cannot_be_written() {
    if elsewhere() {
        return;
    }
    let mut instance = Instance::new(Options::scripted());
    let disk = SmallDisk::mount(&instance.home().join(".local"), 48);
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("s1", &instance.workspace()).await;
    loop {
        disk.fill();
        let answer = client.try_command("s1", json!({"cmd": "set_session_name", "name": "full?"})).await.unwrap();
        if answer["success"] == false {
            break;
        }
    }
    names(&instance, &["status"], &["/users/admin/runner: journal", "journal.db", "make room"]).await;
    disk.make_room();
    client.command("s1", json!({"cmd": "set_session_name", "name": "there is room"})).await;
}

/// 9. A stuck journal: another program holds the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_another_program_holds_is_named_with_the_file() {
    let (instance, mut client) = with("").await;
    let journal = instance.home().join(".local/share/octo/runners/admin/journal.db");
    let hold = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()";
    let mut holder = Command::new("python3").args(["-c", hold]).arg(&journal).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "held");
    prompt(&mut client, &Script::deltas(1)).await;
    names(&instance, &["status"], &["/users/admin/runner: journal", "journal.db", "fuser"]).await;
    holder.kill().unwrap();
    holder.wait().unwrap();
    is_well(&instance, &["status"], &["/users/admin/runner: journal"]).await;
    client.command("s1", json!({"cmd": "prompt", "message": Script::deltas(1).prompt("Again."), "client_id": "again"})).await;
}

/// 10. A row of the journal is not as it was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_is_named_with_its_session_and_number() {
    let (instance, mut client) = with("").await;
    prompt(&mut client, &Script::deltas(3)).await;
    client.idle("s1").await;
    let journal = instance.home().join(".local/share/octo/runners/admin/journal.db");
    let change = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(\"UPDATE events SET payload = replace(payload, 'agent', 'tnega') WHERE id = (SELECT min(id) FROM events WHERE name = 'agent.idle')\"); print(c.total_changes); c.commit()";
    let changed = Command::new("python3").args(["-c", change]).arg(&journal).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&changed.stdout).trim(), "1", "{changed:?}");
    names(&instance, &["journal", "verify", "admin"], &["event ", "of s1"]).await;
}
