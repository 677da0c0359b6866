//! A journal that was cut or changed on the disk opens whole, or says what it lost: never silently short.

use super::*;
use std::collections::BTreeMap;

const SESSION: &str = "s";
const EVENTS: u64 = 6;

/// The files of a journal.
#[derive(Clone)]
struct Files {
    db: Vec<u8>,
    log: Vec<u8>,
    heads: Vec<u8>,
}

impl Files {
    fn of(directory: &Path) -> Self {
        let read = |name: &str| std::fs::read(directory.join(name)).unwrap_or_default();
        Self { db: read("journal.db"), log: read("journal.db-wal"), heads: read("journal.heads") }
    }

    fn put(&self, directory: &Path) {
        for name in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.heads"] {
            let _ = std::fs::remove_file(directory.join(name));
        }
        std::fs::write(directory.join("journal.db"), &self.db).unwrap();
        if !self.log.is_empty() {
            std::fs::write(directory.join("journal.db-wal"), &self.log).unwrap();
        }
        std::fs::write(directory.join("journal.heads"), &self.heads).unwrap();
    }
}

/// A place for many journals one after the other: in memory where the system has that.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The files of a journal with one session and a few events, as a kill leaves them, and those after a graceful end; and what it holds.
async fn written() -> (Files, Files, BTreeMap<u64, Vec<u8>>) {
    let directory = scratch();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session(SESSION)).await.unwrap();
    let log = log_of(key, 0);
    for n in 0..EVENTS {
        journal.commit(batch(key, n + 1, vec![said(n, &format!("the words of message {n}"))], &log)).await.unwrap();
    }
    let rows = journal.page(key.life, 0, None).await.unwrap().rows;
    let truth = rows.into_iter().map(|row| (row.seq, row.packed.payload().to_vec())).collect();
    let killed = Files::of(directory.path());
    journal.close().await;
    drop(journal);
    (killed, Files::of(directory.path()), truth)
}

/// How a journal came out of it.
#[derive(Debug, PartialEq, Eq, Clone, Copy, PartialOrd, Ord)]
enum Outcome {
    /// Everything is there, in the same life.
    Whole,
    /// Something is not, and the session itself says so.
    Told,
    /// The session itself is not there: the journal counts it.
    Gone,
    /// The whole journal is refused.
    Refused,
}

/// Opens a journal as a runner would, and looks whether it is silently anything that it was not.
fn judge(directory: &Path, truth: &BTreeMap<u64, Vec<u8>>, what: &str) -> Outcome {
    let path = directory.join("journal.db");
    let before = Files::of(directory);
    let opened = match schema::open(&path, "boot", 7) {
        Ok(opened) => opened,
        Err(refused) => {
            let sentence = refused.to_string();
            assert!(sentence.contains("journal.db") && sentence.len() > 60, "{what}: no sentence to act on: {sentence}");
            let after = Files::of(directory);
            assert!(before.db == after.db && before.log == after.log && before.heads == after.heads, "{what}: refused, and changed");
            return Outcome::Refused;
        }
    };
    let connection = opened.connection;
    let sessions: Vec<(i64, i64, u64)> = connection
        .prepare("SELECT n, life, head FROM sessions WHERE id = ?1")
        .and_then(|mut s| s.query_map([SESSION], |r| Ok((r.get(0)?, r.get(1)?, r.get::<_, i64>(2)?.unsigned_abs())))?.collect())
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let [(session, life, head)] = sessions[..] else {
        assert_eq!(opened.gone, 1, "{what}: the session is silently gone");
        return Outcome::Gone;
    };
    let Ok(page) = reader::page(&connection, &path, life, 0, None) else { return Outcome::Refused };
    let is_notice = |payload: &[u8]| payload.starts_with(br#"{"event":"notify""#);
    let seen: BTreeMap<u64, Vec<u8>> = page.rows.into_iter().map(|row| (row.seq, row.packed.payload().to_vec())).collect();
    let Ok(messages) = reader::newest(&connection, &path, "m.idx < ?2", rusqlite::params![session, i64::MAX, 1000], 1000, 1 << 20) else {
        return Outcome::Refused;
    };
    let told = seen.values().any(|payload| is_notice(payload));
    if life == 1 {
        assert_eq!(head, EVENTS, "{what}: short");
        assert!(seen.keys().eq(truth.keys()), "{what}: silently short: {:?}", seen.keys());
        for (seq, payload) in &seen {
            assert!(
                payload == &truth[seq] || is_notice(payload),
                "{what}: event {seq} silently changed: {}",
                String::from_utf8_lossy(payload)
            );
        }
        assert_eq!(messages.messages.len() as u64, EVENTS, "{what}: messages silently gone");
    } else if head == 0 && seen.is_empty() {
        // What says under which boot it was written has changed: a new epoch, in which nothing is missing.
        assert_eq!(messages.messages.len() as u64, EVENTS, "{what}: messages silently gone");
    } else {
        assert!(
            seen.get(&1).is_some_and(|first| is_notice(first)),
            "{what}: life {life} up to {head}, which does not say why it began: {:?}",
            seen.keys()
        );
    }
    if told { Outcome::Told } else { Outcome::Whole }
}

/// Every one of them under `./test.sh --full`, else some, other ones each time.
fn some(all: std::ops::Range<usize>, wanted: usize) -> Vec<usize> {
    if std::env::var_os("OCTO_FULL").is_some() || all.len() <= wanted {
        return all.collect();
    }
    let seed = std::env::var("OCTO_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("OCTO_SEED={seed}");
    let mut dice: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
    (0..wanted).map(|_| rand::Rng::random_range(&mut dice, all.clone())).collect()
}

#[tokio::test]
async fn a_write_ahead_log_cut_at_any_byte_of_its_last_records_is_noticed() {
    let (killed, _, truth) = written().await;
    let scratch = scratch();
    let whole = killed.log.len();
    let mut outcomes = BTreeMap::<Outcome, usize>::new();
    // Of the last two frames, which are the last record, and of some before.
    let last = whole - 2 * 4120;
    for cut in some(last..whole, 1000).into_iter().chain(some(0..last, 300)).chain([0, 1, 31, 32, 33, whole - 4120, whole - 1]) {
        let mut torn = killed.clone();
        torn.log.truncate(cut);
        torn.put(scratch.path());
        let outcome = judge(scratch.path(), &truth, &format!("cut at {cut} of {whole}"));
        assert_ne!(outcome, Outcome::Whole, "cut at {cut} of {whole}: nobody noticed");
        *outcomes.entry(outcome).or_default() += 1;
    }
    killed.put(scratch.path());
    assert_eq!(judge(scratch.path(), &truth, "uncut"), Outcome::Whole);
    println!("{outcomes:?}");
    assert!(outcomes[&Outcome::Told] > 1000);
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_the_write_ahead_log_is_noticed() {
    let (killed, _, truth) = written().await;
    let scratch = scratch();
    for at in some(0..killed.log.len(), 600) {
        let mut flipped = killed.clone();
        flipped.log[at] ^= 1 << (at % 8);
        flipped.put(scratch.path());
        // A frame that a later one replaced is not needed; whatever else it is, the journal is whole or says so.
        judge(scratch.path(), &truth, &format!("bit {} of byte {at}", at % 8));
    }
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_the_file_is_noticed_or_harms_no_event() {
    let (_, closed, truth) = written().await;
    assert!(closed.log.is_empty(), "a graceful end leaves one file");
    let scratch = scratch();
    let mut outcomes = BTreeMap::<Outcome, usize>::new();
    for at in some(0..closed.db.len(), 800) {
        let mut flipped = closed.clone();
        flipped.db[at] ^= 1 << (at % 8);
        flipped.put(scratch.path());
        *outcomes.entry(judge(scratch.path(), &truth, &format!("bit {} of byte {at}", at % 8))).or_default() += 1;
    }
    println!("{outcomes:?}");
}

#[tokio::test]
async fn a_session_that_points_to_another_life_begins_a_new_one_and_says_so() {
    let (_, closed, truth) = written().await;
    // One that no session has, and one that another session has.
    for life in [17, 2] {
        let scratch = scratch();
        closed.put(scratch.path());
        let connection = rusqlite::Connection::open(scratch.path().join("journal.db")).unwrap();
        connection.execute("UPDATE sessions SET life = ?2 WHERE id = ?1", rusqlite::params![SESSION, life]).unwrap();
        connection.close().unwrap();
        assert_eq!(judge(scratch.path(), &truth, &format!("life {life}")), Outcome::Told);
    }
}

#[tokio::test]
async fn a_file_cut_at_any_length_is_refused_and_left_as_it_is_unless_nothing_is_missing() {
    let (_, closed, truth) = written().await;
    let scratch = scratch();
    for cut in some(0..closed.db.len(), 200).into_iter().chain([0, 1, 99, 100, 4095, 4096, closed.db.len() - 1]) {
        let mut torn = closed.clone();
        torn.db.truncate(cut);
        torn.put(scratch.path());
        let outcome = judge(scratch.path(), &truth, &format!("cut at {cut}"));
        // The end of the last page may hold nothing; then nothing is missing.
        let harmless = outcome == Outcome::Whole && cut > closed.db.len() - 4096;
        assert!(outcome == Outcome::Refused || harmless, "cut at {cut}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_older_copy_put_back_begins_a_new_epoch_and_says_how_much_is_gone() {
    let directory = scratch();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let (key, other) = (journal.create(new_session("s")).await.unwrap(), journal.create(new_session("other")).await.unwrap());
    let (log, others) = (log_of(key, 0), log_of(other, 0));
    journal.commit(batch(key, 1, vec![said(0, "one")], &log)).await.unwrap();
    journal.commit(batch(other, 1, vec![said(0, "untouched")], &others)).await.unwrap();
    let older = Files::of(directory.path());
    journal.commit(batch(key, 2, vec![said(1, "two"), said(2, "three")], &log)).await.unwrap();
    let heads = Files::of(directory.path()).heads;
    journal.close().await;
    drop(journal);
    Files { heads, ..older }.put(directory.path());

    let journal = Journal::open(directory.path(), "boot").unwrap();
    let row = journal.session("s").await.unwrap().unwrap();
    assert_ne!(row.epoch, "e1");
    assert_eq!((row.head, row.messages), (1, 1));
    let first: serde_json::Value =
        serde_json::from_slice(journal.page(row.key.life, 0, None).await.unwrap().rows[0].packed.payload()).unwrap();
    assert_eq!((first["event"].as_str(), first["level"].as_str()), (Some("notify"), Some("warning")));
    let sentence = first["message"].as_str().unwrap();
    assert!(sentence.starts_with("the last 2 events of this session are gone from /") && sentence.contains("journal.db"), "{sentence}");
    let untouched = journal.session("other").await.unwrap().unwrap();
    assert_eq!((untouched.epoch.as_str(), untouched.head), ("e1", 1), "a session that lost nothing keeps its cursors");
    // It goes on, and the next opening finds nothing to say.
    journal.commit(batch(row.key, 2, vec![said(1, "again")], &log_of(row.key, 1))).await.unwrap();
    let epoch = row.epoch;
    journal.close().await;
    drop(journal);
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let row = journal.session("s").await.unwrap().unwrap();
    assert_eq!((row.epoch, row.head), (epoch, 2));
}

#[tokio::test]
async fn a_commit_without_an_event_that_is_lost_is_noticed_too() {
    let directory = scratch();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    let mut accepted = batch(key, 1, vec![said(0, "one")], &log);
    accepted.changes.push(Change::InputAccepted { key: "c".into(), kind: InputKind::Steer, hash: "h".into(), content: "{}".into() });
    journal.commit(accepted).await.unwrap();
    let older = Files::of(directory.path());
    // The agent has it now: forgetting this would hand it over a second time.
    let mut handed = batch(key, 2, Vec::new(), &log);
    handed.changes.push(Change::InputHanded { key: "c".into() });
    journal.commit(handed).await.unwrap();
    let heads = Files::of(directory.path()).heads;
    journal.close().await;
    drop(journal);
    Files { heads, ..older }.put(directory.path());
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let row = journal.session("s").await.unwrap().unwrap();
    let page = journal.page(row.key.life, 0, None).await.unwrap();
    let told = String::from_utf8_lossy(page.rows[0].packed.payload()).into_owned();
    assert!(told.contains("the last changes of this session are gone"), "{told}");
}

#[tokio::test]
async fn a_journal_without_its_witness_says_that_it_could_not_be_checked() {
    let (killed, _, _) = written().await;
    let scratch = scratch();
    for heads in [Vec::new(), b"something else entirely, and long enough for two slots of thirty-two bytes each".to_vec()] {
        Files { heads, ..killed.clone() }.put(scratch.path());
        let journal = Journal::open(scratch.path(), "boot").unwrap();
        let row = journal.session(SESSION).await.unwrap().unwrap();
        assert_ne!(row.epoch, "e1");
        let page = journal.page(row.key.life, 0, None).await.unwrap();
        assert!(String::from_utf8_lossy(page.rows[0].packed.payload()).contains("could not be checked"));
        assert_eq!(journal.messages(row.key.session, None, 200, 1 << 20).await.unwrap().messages.len() as u64, EVENTS);
        journal.close().await;
        drop(journal);
        // Once, not for ever.
        let journal = Journal::open(scratch.path(), "boot").unwrap();
        assert_eq!(journal.session(SESSION).await.unwrap().unwrap().epoch, row.epoch);
        journal.close().await;
    }
}

#[tokio::test]
async fn a_journal_that_is_gone_beside_its_newest_part_is_refused_and_one_that_was_moved_away_begins_anew() {
    let (killed, _, truth) = written().await;
    let scratch = scratch();
    killed.put(scratch.path());
    std::fs::remove_file(scratch.path().join("journal.db")).unwrap();
    let refused = Journal::open(scratch.path(), "boot").err().unwrap().to_string();
    assert!(refused.contains("its companion") && refused.contains("journal.db-wal"), "{refused}");
    assert_eq!(std::fs::read(scratch.path().join("journal.db-wal")).unwrap(), killed.log);

    let mut emptied = killed.clone();
    emptied.db.clear();
    emptied.put(scratch.path());
    assert_eq!(judge(scratch.path(), &truth, "an empty file"), Outcome::Refused);

    // As the sentence tells a person to do it.
    std::fs::remove_file(scratch.path().join("journal.db")).unwrap();
    std::fs::remove_file(scratch.path().join("journal.db-wal")).unwrap();
    let journal = Journal::open(scratch.path(), "boot").unwrap();
    assert!(journal.sessions().await.unwrap().is_empty());
    let key = journal.create(new_session("n")).await.unwrap();
    journal.commit(batch(key, 1, vec![said(0, "new")], &log_of(key, 0))).await.unwrap();
    journal.close().await;
    drop(journal);
    let journal = Journal::open(scratch.path(), "boot").unwrap();
    assert_eq!(journal.session("n").await.unwrap().unwrap().head, 1, "nothing of the one before is held against it");
}

#[tokio::test]
async fn lost_to_the_power_is_said_as_what_it_is() {
    let (killed, _, _) = written().await;
    let scratch = scratch();
    let mut torn = killed;
    torn.log.truncate(torn.log.len() - 1);
    torn.put(scratch.path());
    let journal = Journal::open(scratch.path(), "another boot").unwrap();
    let row = journal.session(SESSION).await.unwrap().unwrap();
    let page = journal.page(row.key.life, 0, None).await.unwrap();
    let told = String::from_utf8_lossy(page.rows[0].packed.payload()).into_owned();
    assert!(told.contains("the power went before the last event of this session had come to the disk"), "{told}");
}
