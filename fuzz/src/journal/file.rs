//! A journal's file that was changed or cut off where it lay.
//!
//! What must hold: it opens or is refused with a sentence; every query is then answered or refused; what is read is in order and came from the file;
//! a refusal leaves the bytes as they are.
//!
//! An input is a list of changes: a place (three bytes) and the bytes that stand there then. An odd last byte cuts the file off at the last place.

use super::sample;
use crate::dice::Dice;
use octo_runner::journal::{Journal, JournalError};
use std::path::PathBuf;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Runtime};

/// Changes of one input.
const MAX_CHANGES: usize = 16;
const BOOT: &str = "boot-1";

struct Sample {
    runtime: Runtime,
    file: Vec<u8>,
}

/// In memory if there is such a place: a journal syncs to the disk.
fn shelf() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let directory = tempfile::tempdir_in(shelf()).expect("a directory");
        let file = runtime.block_on(async {
            let journal = Journal::open(directory.path(), BOOT).expect("a new journal");
            let key = journal.create(sample::session("s1", None)).await.expect("a session");
            journal.create(sample::session("s2", Some("s1"))).await.expect("its child");
            journal.commit(sample::batch(key)).await.expect("its history");
            journal.close().await;
            std::fs::read(journal.path()).expect("its file")
        });
        Sample { runtime, file }
    })
}

/// One file.
pub fn run(input: &[u8]) {
    let sample = sample();
    let mut file = sample.file.clone();
    let mut dice = Dice::new(input);
    let mut changes = 0;
    while !dice.is_empty() && changes < MAX_CHANGES {
        changes += 1;
        let place = usize::from(dice.byte()) << 16 | usize::from(dice.byte()) << 8 | usize::from(dice.byte());
        let bytes = dice.bytes();
        let place = place % file.len().max(1);
        if bytes.is_empty() && dice.is_empty() {
            file.truncate(place);
            break;
        }
        let end = (place + bytes.len()).min(file.len());
        file[place..end].copy_from_slice(&bytes[..end - place]);
    }
    let directory = tempfile::tempdir_in(shelf()).expect("a directory");
    let path = directory.path().join("journal.db");
    std::fs::write(&path, &file).expect("a file");
    match Journal::open(directory.path(), BOOT) {
        Ok(journal) => sample.runtime.block_on(async {
            read(&journal).await;
            journal.close().await;
        }),
        Err(error @ (JournalError::Newer { .. } | JournalError::Corrupt { .. })) => {
            assert!(error.to_string().contains("journal.db"), "{error}");
            assert!(std::fs::read(&path).expect("the file") == file, "a refused journal was changed: {error}");
        }
        Err(error) => assert!(error.to_string().len() > 10, "{error}"),
    }
}

async fn read(journal: &Journal) {
    let Ok(rows) = journal.sessions().await else { return };
    for row in rows {
        let mut after = 0;
        while let Ok(page) = journal.page(row.key.life, after, None).await {
            if page.rows.is_empty() {
                break;
            }
            for event in page.rows {
                assert!(event.seq > after, "{} after {after}", event.seq);
                after = event.seq;
            }
        }
        let _ = journal.open_items(row.key.life).await;
        let _ = journal.snapshot(row.key, row.head, 200, 1 << 20).await;
        let _ = journal.messages(row.key.session, None, 200, 1 << 20).await;
        let _ = journal.undelivered_inputs(row.key.session).await;
    }
    let _ = journal.search("the fox", None, 10).await;
    let _ = journal.chats(None, true, 10).await;
    let _ = journal.unfinished_sessions().await;
}
