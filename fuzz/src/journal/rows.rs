//! Rows that hold anything, and queries with anything in them.
//!
//! What must hold. Of a whole journal: every query of a client is answered, whatever its words, cursors and limits, and the answer is exactly what the
//! journal holds. Of a damaged one: every query is answered or refused; pages keep their order and their bounds, and come to an end.

use super::sample::{self, HEAD, MESSAGES, SEQS};
use crate::dice::Dice;
use futures_util::FutureExt as _;
use octo_protocol::history::HistoryQuery;
use octo_protocol::{Cursor, Epoch, SessionId};
use octo_runner::journal::probe::{Cell, Probe};
use octo_runner::journal::{Journal, JournalError, Page, SessionKey};
use std::future::Future;

/// Changes of one input.
const MAX_DAMAGES: usize = 12;
/// Events of one page (the journal's own limit), and the pages that are read of one life.
const PAGE: usize = 256;
const MAX_PAGES: usize = 32;
/// Bytes of messages in one page, as the runner asks.
const PAGE_BYTES: usize = 1 << 20;

struct Sample {
    probe: Probe,
    key: SessionKey,
}

thread_local! {
    static SAMPLE: Sample = {
        let probe = Probe::new().expect("SQLite in memory");
        let key = probe.create(sample::session("s1", None)).expect("a session");
        probe.create(sample::session("s2", Some("s1"))).expect("its child");
        probe.commit(sample::batch(key)).expect("its history");
        Sample { probe, key }
    };
}

/// The probe reads on this thread, so what it reads is there at once.
fn now<T>(read: impl Future<Output = T>) -> T {
    read.now_or_never().expect("the probe reads at once")
}

/// Which of the questions an execution asks: a hundred queries for each would let the engine try five hundred inputs a second.
#[derive(Debug, Clone, Copy)]
struct Asked(u8);

impl Asked {
    const PAGES: u8 = 1;
    const MESSAGES: u8 = 1 << 1;
    const SNAPSHOT: u8 = 1 << 2;
    const SEARCH: u8 = 1 << 3;
    const LISTS: u8 = 1 << 4;
    const JSON: u8 = 1 << 5;
    const OPEN_ITEMS: u8 = 1 << 6;
    const HOLDINGS: u8 = 1 << 7;

    fn has(self, question: u8) -> bool {
        self.0 & question != 0
    }
}

/// Queries, then damage, then reading, with every question.
pub fn run(input: &[u8]) {
    ask(input, Asked(u8::MAX));
}

/// The same with two of the eight questions, which the input's last byte chooses. Whatever fails here fails in [`run`] too.
pub fn run_some(input: &[u8]) {
    let last = input.last().copied().unwrap_or_default();
    ask(input, Asked(1 << (last & 7) | 1 << (last >> 3 & 7)));
}

fn ask(input: &[u8], asked: Asked) {
    SAMPLE.with(|sample| {
        sample.probe.begin();
        let mut dice = Dice::new(input);
        let words = dice.text().into_owned();
        whole(sample.probe.journal(), sample.key, &words, &mut dice, asked);
        let mut damages = 0;
        while !dice.is_empty() && damages < MAX_DAMAGES {
            damage(&sample.probe, sample.key, &mut dice);
            damages += 1;
        }
        if damages > 0 {
            damaged(sample.probe.journal(), &words, asked);
        }
        sample.probe.reset();
    });
}

fn number(dice: &mut Dice<'_>) -> u64 {
    dice.number().cast_unsigned()
}

fn maybe(dice: &mut Dice<'_>) -> Option<u64> {
    let number = number(dice);
    (!number.is_multiple_of(3)).then_some(number / 3)
}

/// What a client may ask, and what it must get.
fn whole(journal: &Journal, key: SessionKey, words: &str, dice: &mut Dice<'_>, asked: Asked) {
    let (limit, after, until, before) = (u32::from(dice.byte()), number(dice), maybe(dice), maybe(dice));
    if asked.has(Asked::PAGES) {
        let page = now(journal.page(key.life, after, until)).expect("a cursor is only a number");
        let expected = SEQS.into_iter().filter(|seq| *seq > after && until.is_none_or(|until| *seq <= until));
        assert!(page.rows.iter().map(|row| row.seq).eq(expected), "after {after} until {until:?}");
    }
    if asked.has(Asked::MESSAGES) {
        let read = now(journal.messages(key.session, before, limit, PAGE_BYTES)).expect("a place is only a number");
        let there = before.unwrap_or(MESSAGES).min(MESSAGES);
        check_messages(&read.messages, read.has_more, there, limit);
    }
    if asked.has(Asked::SNAPSHOT) {
        let events = [1, 4, 7, 10, 11];
        let snapshot = now(journal.snapshot(key, after, limit, PAGE_BYTES)).expect("a cursor is only a number");
        let there = events.into_iter().filter(|seq| *seq <= after).count() as u64;
        check_messages(&snapshot.messages, snapshot.has_more, there, limit);
    }
    if asked.has(Asked::SEARCH) {
        found(journal, words, after.is_multiple_of(2), limit);
    }
    if asked.has(Asked::LISTS) {
        listed(journal, key, words, limit);
    }
    if asked.has(Asked::JSON) {
        asked_as_json(journal, words);
    }
}

fn found(journal: &Journal, words: &str, in_session: bool, limit: u32) {
    let session = in_session.then(|| words.to_owned());
    let hits = now(journal.search(words, session.clone(), limit)).expect("words are words");
    assert!(hits.len() <= limit as usize && (session.is_none() || hits.is_empty() || words == "s1"), "{hits:?}");
    for hit in now(journal.search(words, Some("s1".into()), 10)).expect("words are words") {
        assert!(hit.score.is_some_and(f64::is_finite) && hit.snippet.is_some(), "{hit:?}");
    }
}

fn listed(journal: &Journal, key: SessionKey, words: &str, limit: u32) {
    let known = ["s1", "s2", "cold-lamp-s1", "cold-lamp-s2"].contains(&words);
    assert_eq!(now(journal.chat(words)).expect("an id is a text").is_some(), known);
    assert_eq!(now(journal.session(words)).expect("an id is a text").is_some(), ["s1", "s2"].contains(&words));
    assert_eq!(now(journal.input(key.session, words)).expect("a key is a text").is_some(), ["c1", "c2", "c3"].contains(&words));
    let chats =
        now(journal.chats(limit.is_multiple_of(2).then(|| words.to_owned()), limit.is_multiple_of(3), limit)).expect("a folder is a text");
    assert!(chats.len() <= 2.min(limit as usize));
}

fn check_messages(messages: &[Box<serde_json::value::RawValue>], has_more: bool, there: u64, limit: u32) {
    #[derive(serde::Deserialize)]
    struct Placed {
        idx: u64,
    }
    let places: Vec<u64> = messages.iter().map(|message| serde_json::from_str::<Placed>(message.get()).expect("a message").idx).collect();
    let taken = there.min(u64::from(limit));
    assert_eq!(places, (there - taken..there).collect::<Vec<u64>>(), "the newest {limit} of {there}");
    assert_eq!(has_more, taken < there, "{limit} of {there}");
}

/// The words as JSON of what octo hands on for a client.
fn asked_as_json(journal: &Journal, json: &str) {
    if let Ok(cursor) = serde_json::from_str::<Cursor>(json) {
        let written = serde_json::to_string(&cursor).expect("a cursor can be written");
        assert_eq!(serde_json::from_str::<Cursor>(&written).expect("and read"), cursor);
    }
    match serde_json::from_str::<HistoryQuery>(json) {
        Ok(HistoryQuery::Sessions { workspace, include_children, limit }) => {
            now(journal.chats(workspace, include_children, limit)).expect("a list");
        }
        Ok(HistoryQuery::Session { id } | HistoryQuery::Rename { id, .. }) => drop(now(journal.chat(&id)).expect("an id is a text")),
        Ok(HistoryQuery::Messages { before_idx, limit, .. }) => {
            now(journal.messages(1, before_idx, limit, PAGE_BYTES)).expect("a place is only a number");
        }
        Ok(HistoryQuery::Search { q, session_id, limit }) => drop(now(journal.search(&q, session_id, limit)).expect("words are words")),
        Ok(HistoryQuery::Removed { .. }) => assert!(now(journal.removed(None)).expect("nothing was removed").is_none()),
        Err(_) => {}
    }
}

fn cell<'a>(dice: &mut Dice<'a>) -> Cell<'a> {
    match dice.byte() % 6 {
        0 => Cell::Null,
        1 => Cell::Integer(dice.number()),
        2 => Cell::Real(f64::from_bits(dice.number().cast_unsigned())),
        3 => Cell::Blob(dice.bytes()),
        _ => Cell::Text(dice.bytes()),
    }
}

fn damage(probe: &Probe, key: SessionKey, dice: &mut Dice<'_>) {
    let what = usize::from(dice.byte());
    let place = i64::from(dice.byte());
    let event = (key.life << 40) + place;
    if what >= 200 {
        let row = if what >= 250 { dice.number() } else { event };
        let names: [&[u8]; 6] =
            [b"tool.start", b"tool.end", b"agent.input_needed", b"agent.input_resolved", b"stream.text_delta", b"stream.message_end"];
        let name = Cell::Text(names[what % names.len()]);
        probe.event(row, cell(dice), name, cell(dice), cell(dice));
        return;
    }
    // The number of a row: an event's, a message's, or a small one.
    let value = cell(dice);
    let _ = probe.damage(what, event, value) || probe.damage(what, place, value);
}

/// Reads everything, as a runner does that starts, and as clients then do.
fn damaged(journal: &Journal, words: &str, asked: Asked) {
    let mut lives = vec![(SessionKey { session: 1, life: 1 }, HEAD)];
    if let Ok(rows) = now(journal.sessions()) {
        for row in rows {
            let _ = (row.epoch.parse::<Epoch>(), row.id.parse::<SessionId>());
            lives.push((row.key, row.head));
        }
    }
    for (key, head) in lives {
        damaged_session(journal, key, head, words, asked);
    }
    if asked.has(Asked::HOLDINGS) {
        let _ = (now(journal.unfinished_sessions()), now(journal.holdings()));
    }
    if asked.has(Asked::LISTS) {
        bounded(now(journal.chats(None, true, 2)).map(|chats| chats.len()), 2);
        let _ = (now(journal.chat("s1")), now(journal.session("s2")));
    }
    if asked.has(Asked::SEARCH) {
        for query in ["fox", "the", words] {
            bounded(now(journal.search(query, None, 3)).map(|hits| hits.len()), 3);
        }
    }
}

fn damaged_session(journal: &Journal, key: SessionKey, head: u64, words: &str, asked: Asked) {
    if asked.has(Asked::PAGES) {
        pages(journal, key.life, None);
        pages(journal, key.life, Some(head));
    }
    if asked.has(Asked::OPEN_ITEMS)
        && let Ok(open) = now(journal.open_items(key.life))
    {
        let _ = open.messages.iter().map(|(_, seq)| seq).max();
    }
    if asked.has(Asked::SNAPSHOT) {
        for as_of in [0, head, u64::MAX] {
            bounded(now(journal.snapshot(key, as_of, 3, PAGE_BYTES)).map(|page| page.messages.len()), 3);
        }
    }
    if asked.has(Asked::MESSAGES) {
        bounded(now(journal.messages(key.session, None, 3, 1)).map(|page| page.messages.len()), 3);
    }
    if asked.has(Asked::HOLDINGS) {
        let _ = now(journal.undelivered_inputs(key.session));
        let _ = (now(journal.removed(Some(key.session))), now(journal.holding(key.session)));
    }
    if asked.has(Asked::LISTS) {
        for input in ["c1", "c2", words] {
            let _ = now(journal.input(key.session, input));
        }
    }
}

fn bounded(found: Result<usize, JournalError>, most: usize) {
    match found {
        Ok(found) => assert!(found <= most, "{found} of at most {most}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A replay: page after page, each behind the last, to its end.
fn pages(journal: &Journal, life: i64, until: Option<u64>) {
    let mut after = 0;
    for _ in 0..MAX_PAGES {
        let Ok(Page { rows }) = now(journal.page(life, after, until)) else { return };
        assert!(rows.len() <= PAGE);
        if rows.is_empty() {
            return;
        }
        for row in rows {
            assert!(row.seq > after && until.is_none_or(|until| row.seq <= until), "{} after {after} until {until:?}", row.seq);
            after = row.seq;
            let _ = (row.packed.ts(), row.packed.kind(), row.packed.payload().len());
        }
    }
    panic!("a replay of a few events has no end");
}
