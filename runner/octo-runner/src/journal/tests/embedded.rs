use super::*;
use futures_util::FutureExt as _;

fn batch(key: SessionKey, log: &Arc<SessionLog>, seq: u64) -> Batch {
    let entries = vec![Entry::new(said(seq - 1, "said"), None).unwrap()];
    Batch { key, first_seq: seq, entries, changes: Vec::new(), log: Arc::clone(log) }
}

#[test]
fn an_embedded_journal_is_done_when_it_is_asked_and_survives_being_severed() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::embedded(directory.path(), "boot", Disk::default()).unwrap();
    // No runtime: nothing of this may wait for anybody.
    let key = journal.create(new_session("s")).now_or_never().unwrap().unwrap();
    let log = Arc::new(SessionLog::new("e1".parse().unwrap(), key.life, 0));
    for seq in 1..=300 {
        journal.commit(batch(key, &log, seq)).now_or_never().unwrap().unwrap();
        assert_eq!(log.head(), seq, "it is announced when it is committed");
    }
    journal.sever();
    assert!(matches!(journal.commit(batch(key, &log, 301)).now_or_never().unwrap(), Err(JournalError::Closed)));
    assert!(matches!(journal.page(key.life, 0, None).now_or_never().unwrap(), Err(JournalError::Closed)));
    assert_eq!(log.head(), 300);
    let again = Journal::embedded(directory.path(), "boot", Disk::default()).unwrap();
    let row = again.session("s").now_or_never().unwrap().unwrap().unwrap();
    assert_eq!((row.key, row.head, row.messages), (key, 300, 300));
    again.close().now_or_never().unwrap();
    assert!(matches!(again.submit(batch(key, &log, 301)).now_or_never().unwrap(), Err(JournalError::Closed)));
}

#[test]
fn a_full_disk_takes_nothing_until_it_takes_everything_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let journal = Journal::embedded(directory.path(), "boot", disk.clone()).unwrap();
    let key = journal.create(new_session("s")).now_or_never().unwrap().unwrap();
    let log = Arc::new(SessionLog::new("e1".parse().unwrap(), key.life, 0));
    disk.set_full(true);
    let refused = journal.commit(batch(key, &log, 1)).now_or_never().unwrap().err().unwrap();
    assert!(refused.is_temporary(), "{refused}");
    assert_eq!(log.head(), 0);
    assert_eq!(journal.session("s").now_or_never().unwrap().unwrap().unwrap().head, 0, "reading goes on");
    disk.set_full(false);
    journal.commit(batch(key, &log, 1)).now_or_never().unwrap().unwrap();
    assert_eq!(log.head(), 1);
}

#[test]
fn what_a_disk_has_synced_is_there_when_the_rest_of_its_log_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let journal = Journal::embedded(directory.path(), "boot-1", disk.clone()).unwrap();
    let key = journal.create(new_session("s")).now_or_never().unwrap().unwrap();
    let log = Arc::new(SessionLog::new("e1".parse().unwrap(), key.life, 0));
    journal.commit(batch(key, &log, 1)).now_or_never().unwrap().unwrap();
    let mut unsynced = batch(key, &log, 2);
    unsynced.entries =
        vec![Entry::new(Event::MessageStart { message_id: "m".into(), role: octo_protocol::Role::Assistant }, None).unwrap()];
    journal.commit(unsynced).now_or_never().unwrap().unwrap();
    journal.sever();
    let wal = crate::journal::log_of(journal.path());
    let (synced, written) = (disk.synced_bytes(), std::fs::metadata(&wal).unwrap().len());
    assert!(synced < written, "{synced} of {written}");
    std::fs::File::options().write(true).open(&wal).unwrap().set_len(synced).unwrap();
    let again = Journal::embedded(directory.path(), "boot-2", Disk::default()).unwrap();
    let row = again.session("s").now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(row.messages, 1, "a finished message outlives the power");
    assert_ne!(row.epoch, "e1", "and no number is given twice");
}
