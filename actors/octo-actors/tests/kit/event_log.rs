use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use octo_actors::{EventLog, Frame, LogLimits, Read};
use proptest::prelude::*;

const LIMITS: LogLimits = LogLimits { max_frames: 8, max_bytes: 1000 };

fn frame(seq: u64) -> Frame {
    sized(seq, 1)
}

fn sized(seq: u64, len: usize) -> Frame {
    Frame { seq, urgent: false, bytes: Bytes::from(vec![u8::try_from(seq % 251).unwrap(); len]) }
}

fn seqs(read: Read) -> (Vec<u64>, u64) {
    match read {
        Read::Frames { frames, next } => (frames.into_iter().map(|f| f.seq).collect(), next),
        Read::Behind { .. } => panic!("behind: {read:?}"),
    }
}

#[test]
fn a_reader_gets_every_frame_once_in_order_in_batches_bounded_by_count_and_bytes() {
    let log = EventLog::following(LogLimits { max_frames: 100, max_bytes: 10_000 }, 0);
    log.append_all((1..=10).map(|seq| sized(seq, 100)));
    assert_eq!(seqs(log.read(0, 4, 10_000)), (vec![1, 2, 3, 4], 4));
    assert_eq!(seqs(log.read(4, 64, 250)), (vec![5, 6], 6));
    assert_eq!(seqs(log.read(6, 64, 1)), (vec![7], 7), "one frame always comes, however large");
    assert_eq!(seqs(log.read(7, 64, 10_000)), (vec![8, 9, 10], 10));
    assert_eq!(seqs(log.read(10, 64, 10_000)), (vec![], 10));
}

#[test]
fn a_reader_behind_the_tail_is_told_and_rejoins_without_a_gap() {
    let log = EventLog::following(LIMITS, 0);
    log.append_all((1..=20).map(frame));
    assert_eq!(log.read(0, 64, 1000), Read::Behind { last_evicted_seq: Some(12), base: 12 });
    assert_eq!((log.base_seq(), log.last_seq()), (Some(13), Some(20)));
    assert_eq!(log.position_after_seq(11), None);
    assert_eq!(log.position_after_seq(21), None, "ahead of the log");
    for seq in 12..=20 {
        let from = log.position_after_seq(seq).unwrap();
        assert_eq!(seqs(log.read(from, 64, 1000)).0, (seq + 1..=20).collect::<Vec<_>>());
    }
}

#[test]
fn an_empty_log_that_follows_a_journal_can_be_joined_at_its_end() {
    let log = EventLog::following(LIMITS, 41);
    assert_eq!((log.position_after_seq(41), log.position_after_seq(40), log.base_seq()), (Some(0), None, None));
    let fresh = EventLog::new(LIMITS);
    assert_eq!(fresh.position_after_seq(0), None);
    fresh.append(frame(42));
    assert_eq!((fresh.position_after_seq(41), fresh.position_after_seq(42)), (Some(0), Some(1)));
}

#[test]
fn ephemeral_frames_travel_in_order_and_touch_no_sequence() {
    let log = EventLog::following(LIMITS, 0);
    log.append_all([frame(1), frame(0), frame(0), frame(2), frame(0)]);
    assert_eq!(log.last_seq(), Some(2));
    let from = log.position_after_seq(1).unwrap();
    assert_eq!(seqs(log.read(from, 64, 1000)).0, [0, 0, 2, 0]);
    assert_eq!(log.position_after_seq(2), Some(4));
}

#[test]
fn a_gap_or_a_repetition_resets_the_log_and_even_a_reader_at_the_head_is_behind() {
    for wrong in [5, 2, 1] {
        let log = EventLog::following(LIMITS, 0);
        log.append_all([frame(1), frame(2)]);
        let caught_up = log.head();
        log.append(frame(wrong));
        assert_eq!(log.read(caught_up, 64, 1000), Read::Behind { last_evicted_seq: Some(wrong - 1), base: 3 });
        let from = log.position_after_seq(wrong - 1).unwrap();
        assert_eq!(seqs(log.read(from, 64, 1000)), (vec![wrong], 4));
    }
}

#[test]
fn a_reset_moves_the_head_so_that_waiting_readers_notice() {
    let log = EventLog::following(LIMITS, 0);
    log.append(frame(1));
    let (mut watch, at) = (log.watch(), log.head());
    watch.mark_unchanged();
    log.reset();
    assert!(watch.has_changed().unwrap());
    assert_eq!(log.read(at, 64, 1000), Read::Behind { last_evicted_seq: None, base: 2 });
    assert_eq!((log.last_seq(), log.position_after_seq(1)), (None, None));
    log.reset_following(7);
    assert_eq!(log.position_after_seq(7), Some(log.head()));
}

#[test]
fn a_batch_moves_the_head_once_and_an_empty_one_not_at_all() {
    let log = EventLog::following(LIMITS, 0);
    let mut watch = log.watch();
    log.append_all([]);
    assert!(!watch.has_changed().unwrap());
    log.append_all((1..=5).map(frame));
    assert!(watch.has_changed().unwrap());
    assert_eq!(*watch.borrow_and_update(), 5);
    assert!(!watch.has_changed().unwrap());
}

#[test]
fn a_frame_larger_than_the_log_passes_through_without_staying() {
    let log = EventLog::following(LIMITS, 0);
    log.append_all([frame(1), sized(2, 1001)]);
    assert_eq!(log.read(1, 64, 10_000), Read::Behind { last_evicted_seq: Some(2), base: 2 });
    assert_eq!(log.position_after_seq(2), Some(2));
    log.append(frame(3));
    assert_eq!(seqs(log.read(2, 64, 1000)), (vec![3], 3));
}

/// The log written down plainly: everything ever appended, and where the ring begins.
#[derive(Default)]
struct Model {
    all: Vec<Frame>,
    /// Positions that are only skipped, by resets.
    ring: VecDeque<(u64, Frame)>,
    head: u64,
    last: Option<u64>,
    floor: Option<u64>,
}

impl Model {
    fn reset(&mut self, seq: Option<u64>) {
        self.ring.clear();
        self.head += 1;
        (self.last, self.floor) = (seq, seq);
    }

    fn append(&mut self, frame: Frame) {
        if frame.seq != 0 {
            match self.last {
                Some(last) if last + 1 != frame.seq => self.reset(Some(frame.seq - 1)),
                None => self.floor = Some(frame.seq - 1),
                Some(_) => {}
            }
            self.last = Some(frame.seq);
        }
        self.all.push(frame.clone());
        self.ring.push_back((self.head, frame));
        self.head += 1;
        let bytes = |ring: &VecDeque<(u64, Frame)>| ring.iter().map(|(_, f)| f.bytes.len()).sum::<usize>();
        while self.ring.len() > LIMITS.max_frames || bytes(&self.ring) > LIMITS.max_bytes {
            let (_, frame) = self.ring.pop_front().unwrap();
            if frame.seq != 0 {
                self.floor = Some(frame.seq);
            }
        }
    }

    fn base(&self) -> u64 {
        self.ring.front().map_or(self.head, |(at, _)| *at)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append { skip: u64, ephemeral: bool, len: usize },
    Reset(Option<u64>),
    Read { reader: usize, frames: usize, bytes: usize },
    Join { reader: usize, back: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let skip = prop_oneof![20 => Just(0u64), 1 => 1u64..4];
    let step = prop_oneof![
        10 => (skip, any::<bool>(), 0usize..400).prop_map(|(skip, ephemeral, len)| Step::Append { skip, ephemeral, len }),
        1 => proptest::option::of(0u64..50).prop_map(Step::Reset),
        8 => (0usize..3, 0usize..6, 0usize..600).prop_map(|(reader, frames, bytes)| Step::Read { reader, frames, bytes }),
        3 => (0usize..3, 0u64..12).prop_map(|(reader, back)| Step::Join { reader, back }),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn never_a_gap_never_a_double_behind_when_evicted_and_always_within_bounds(steps in steps(), start in proptest::option::of(0u64..5)) {
        let log = start.map_or_else(|| EventLog::new(LIMITS), |seq| EventLog::following(LIMITS, seq));
        let mut model = Model { last: start, floor: start, ..Model::default() };
        // A reader: its position, and the last sequence number it has seen since it joined.
        let mut readers: [(u64, Option<u64>); 3] = [(0, None); 3];
        for step in steps {
            match step {
                Step::Append { skip, ephemeral, len } => {
                    let seq = if ephemeral { 0 } else { model.last.unwrap_or(0) + 1 + skip };
                    model.append(sized(seq, len));
                    log.append(sized(seq, len));
                }
                Step::Reset(seq) => {
                    model.reset(seq);
                    seq.map_or_else(|| log.reset(), |seq| log.reset_following(seq));
                }
                Step::Read { reader, frames: max, bytes } => {
                    let (at, seen) = &mut readers[reader];
                    match log.read(*at, max, bytes) {
                        Read::Behind { last_evicted_seq, base } => {
                            prop_assert!(*at < model.base());
                            prop_assert_eq!((last_evicted_seq, base), (model.floor, model.base()));
                            *seen = None;
                        }
                        Read::Frames { frames, next } => {
                            prop_assert!(*at >= model.base());
                            let expected: Vec<_> = model.ring.iter().filter(|(p, _)| *p >= *at && *p < next).map(|(_, f)| f.clone()).collect();
                            prop_assert_eq!(&frames, &expected);
                            prop_assert!(frames.len() <= max);
                            let total: usize = frames.iter().map(|f| f.bytes.len()).sum();
                            prop_assert!(total <= bytes || frames.len() == 1);
                            if max > 0 && *at < model.head {
                                prop_assert!(!frames.is_empty(), "a reader always gets on");
                            }
                            for frame in frames.iter().filter(|f| f.seq != 0) {
                                prop_assert!(seen.is_none_or(|seen| seen + 1 == frame.seq), "{seen:?} then {}", frame.seq);
                                *seen = Some(frame.seq);
                            }
                            *at = next;
                        }
                    }
                }
                Step::Join { reader, back } => {
                    let seq = model.last.unwrap_or(0).saturating_sub(back);
                    let joined = log.position_after_seq(seq);
                    let held = model.floor.zip(model.last).is_some_and(|(floor, last)| (floor..=last).contains(&seq));
                    prop_assert_eq!(joined.is_some(), held);
                    if let Some(at) = joined {
                        readers[reader] = (at, Some(seq));
                    }
                }
            }
            prop_assert_eq!((log.head(), log.last_seq()), (model.head, model.last));
            let oldest = model.ring.iter().map(|(_, f)| f.seq).find(|seq| *seq != 0);
            prop_assert_eq!(log.base_seq(), oldest);
            prop_assert!(model.ring.len() <= LIMITS.max_frames);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_readers_fast_and_slow_see_every_frame_or_that_they_are_behind() {
    const LAST: u64 = 20_000;
    let log = Arc::new(EventLog::following(LogLimits { max_frames: 256, max_bytes: 1 << 20 }, 0));
    let readers: Vec<_> = (0..32)
        .map(|reader| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut head = log.watch();
                let (mut at, mut seen, mut behind) = (0, 0, 0);
                while seen < LAST {
                    match log.read(at, 64, 1 << 20) {
                        Read::Frames { frames, next } if !frames.is_empty() => {
                            for frame in frames {
                                assert_eq!(frame.seq, seen + 1);
                                seen = frame.seq;
                            }
                            at = next;
                        }
                        Read::Frames { .. } => drop(head.wait_for(|head| *head > at).await.unwrap()),
                        // As a connection does after it has read the journal up to there.
                        Read::Behind { last_evicted_seq, .. } => {
                            let evicted = last_evicted_seq.unwrap();
                            assert!(evicted >= seen);
                            if let Some(joined) = log.position_after_seq(evicted) {
                                (at, seen, behind) = (joined, evicted, behind + 1);
                            }
                        }
                    }
                    if reader % 4 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                behind
            })
        })
        .collect();
    for batch in (1..=LAST).collect::<Vec<_>>().chunks(37) {
        log.append_all(batch.iter().map(|seq| sized(*seq, 300)));
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_happens_the_ring_is_given_back_and_no_reader_misses_anything() {
    const QUIET: Duration = Duration::from_secs(30);
    let shown = || Frame { seq: 0, urgent: false, bytes: Bytes::from_static(b"heartbeat") };
    let log = EventLog::following(LogLimits { max_frames: 4096, max_bytes: 4 * 1024 * 1024 }, 0);
    log.append_all((1..=1000).map(frame));
    let (slow, mut live, heads) = (0, log.head(), log.watch());
    for second in 1..=1000u64 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second % 10 == 0 {
            log.append(shown());
            log.rest(QUIET);
        }
        // Who reads what comes misses nothing.
        match log.read(live, 64, 1000) {
            Read::Frames { next, .. } => live = next,
            Read::Behind { .. } => panic!("behind at {second}"),
        }
        let held = log.held().0;
        assert!(if second < 40 { held >= 1000 } else { held <= 2 }, "{held} frames at {second}");
    }
    assert_eq!((live, *heads.borrow()), (log.head(), log.head()));
    // Who has not read is told, and finds the end in the journal, from where it joins.
    assert!(matches!(log.read(slow, 64, 1000), Read::Behind { last_evicted_seq: Some(1000), .. }));
    assert_eq!((log.position_after_seq(999), log.last_seq(), log.base_seq()), (None, Some(1000), None));
    assert_eq!(seqs(log.read(log.position_after_seq(1000).unwrap(), 64, 1000)).1, log.head());
    // While something happens nothing goes before its time.
    log.append_all((1001..=1100).map(frame));
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let next = log.last_seq().unwrap() + 1;
        log.append(frame(next));
        log.rest(QUIET);
    }
    assert_eq!(log.base_seq(), Some(1001));
}
