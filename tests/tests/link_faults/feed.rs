//! The whole way of an event: a real runner's journal, a link that breaks, octo's own followers and rings, and whoever watches at the end of it.

use crate::runner::{Agent, Step, TALKING};
use futures_util::StreamExt as _;
use octo::auth::UserId;
use octo::config::{Config, Environment, Overrides};
use octo::{Builder, From, Octo};
use octo_e2e::wire::{Cut, NAP, Wire, between};
use octo_e2e::{PATIENCE, seed};
use octo_protocol::{Cursor, ErrorCode, Event};
use octo_runner::link::{Serving, serve};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::sync::watch;

/// What a watcher has seen of a session: by number.
type Seen = BTreeMap<u64, Value>;

fn wire(dice: &mut StdRng) -> Wire {
    let piece = |dice: &mut StdRng| match dice.random_range(0..3) {
        0 => dice.random_range(1..8),
        1 => dice.random_range(8..500),
        _ => dice.random_range(500..60_000),
    };
    let (pieces, pauses, reach) = (dice.random_range(1..5), dice.random_range(1..4), dice.random_range(300..30_000));
    Wire {
        room: dice.random_range(16..20_000),
        pieces: (0..pieces).map(|_| piece(dice)).collect(),
        pauses: (0..pauses).map(|_| [0, 0, 1, 3, NAP][dice.random_range(0..5)]).collect(),
        cut: Some(Cut { towards_octo: dice.random_bool(0.8), at: dice.random_range(0..reach) }),
        ..Wire::whole()
    }
}

fn step(dice: &mut StdRng) -> Step {
    let session = dice.random_range(0..TALKING.len());
    match dice.random_range(0..20) {
        0 | 1 => Step::Start(session),
        2..=8 => Step::Delta(session, dice.random_range(0..900)),
        9 => Step::Delta(session, dice.random_range(20_000..100_000)),
        10..=12 => Step::End(session),
        13 => Step::Ephemeral(session),
        14..=18 => Step::Commit(session),
        _ => Step::Breathe,
    }
}

/// Stands at the runner's socket and carries each connection to the runner, the first ones over bad wires.
async fn stand_in(listener: UnixListener, serving: Serving, wires: VecDeque<Wire>) {
    let wires = Arc::new(Mutex::new(wires));
    for number in 1.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (serving, wires) = (serving.clone(), Arc::clone(&wires));
        tokio::spawn(async move {
            let (mut from, to) = stream.into_split();
            let mut first = [0];
            // Somebody who only looks whether anybody answers says nothing.
            if from.read(&mut first).await.unwrap_or(0) == 0 {
                return;
            }
            let wire = wires.lock().unwrap().pop_front().unwrap_or_else(Wire::whole);
            let (near, far) = tokio::io::duplex(wire.room);
            let (half, other) = tokio::io::split(near);
            let served = tokio::spawn(serve(number, serving, half, other));
            between(wire, (std::io::Cursor::new(first).chain(from), to), tokio::io::split(far)).await;
            let _ = served.await;
        });
    }
}

/// Watches a session from its first event until it has seen what the journal ends with.
async fn look(octo: Arc<Octo>, session: &'static str, mut end: watch::Receiver<Option<u64>>, restless: bool) -> Seen {
    let user = octo.user("alice").unwrap();
    let mut seen = Seen::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let opened = match user.attach(session.parse().unwrap()).await {
            Ok(opened) => opened,
            Err(error) if error.code == ErrorCode::RunnerUnavailable || error.code == ErrorCode::Timeout => continue,
            Err(error) => panic!("{session}: {error}"),
        };
        let from = cursor.clone().map_or(From::Start, From::Cursor);
        let mut events = opened.events(from).await.unwrap();
        let mut last = cursor.as_ref().map_or(0, |cursor| cursor.seq);
        let (mut bracketed, mut taken) = (false, 0);
        loop {
            let done = *end.borrow_and_update();
            if done.is_some_and(|end| last >= end) && !bracketed {
                return seen;
            }
            let frame = tokio::select! {
                frame = events.next() => frame.expect("the session is there"),
                _ = end.changed() => continue,
            };
            match &frame.payload.event {
                Event::ReplayStart { after } => {
                    assert!(!bracketed && *after == last, "{session}: a replay after {after} at {last}");
                    bracketed = true;
                }
                Event::ReplayEnd { .. } => {
                    let end = frame.seq.unwrap();
                    assert!(bracketed && end >= last, "{session}: a replay ends at {end}, behind {last}");
                    (bracketed, last) = (false, end);
                }
                Event::ResyncRequired { reason, .. } => panic!("{session}: a cursor of this epoch holds, but: {reason}"),
                event => {
                    let Some(seq) = frame.seq else { continue };
                    assert!(seq > last && (bracketed || seq == last + 1), "{session}: {seq} after {last}, in brackets: {bracketed}");
                    last = seq;
                    assert!(seen.insert(seq, serde_json::to_value(event).unwrap()).is_none(), "{session}: {seq} twice");
                }
            }
            cursor = frame.epoch.clone().map(|epoch| Cursor { epoch, seq: last });
            taken += 1;
            if restless && taken > 25 && !bracketed {
                // Goes away and comes back with its cursor.
                break;
            }
        }
    }
}

async fn round(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut agent = Agent::start().await;
    let home = tempfile::tempdir().unwrap();
    let env: Environment = [("HOME", home.path().to_str().unwrap())].into_iter().collect();
    let overrides = Overrides::default().set("auth.jwt_secret", "a secret of these tests, long enough for HS256 to take it");
    let config = Config::load_with(&env, &overrides).unwrap();
    let octo = Arc::new(Builder::new().config(config).binaries(home.path().join("none")).build().await.unwrap());
    let socket = octo.state().settings.paths.runner_socket(&UserId::new("alice").unwrap());
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let wires = (0..dice.random_range(1..5)).map(|_| wire(&mut dice)).collect();
    let standing = tokio::spawn(stand_in(UnixListener::bind(&socket).unwrap(), agent.serving(), wires));

    let (say, end) = watch::channel(None);
    let (says, ends) = watch::channel(None);
    let watching: Vec<_> = [(TALKING[0], &end, false), (TALKING[0], &end, true), (TALKING[1], &ends, false)]
        .into_iter()
        .map(|(session, end, restless)| (session, tokio::spawn(look(Arc::clone(&octo), session, end.clone(), restless))))
        .collect();
    for _ in 0..dice.random_range(50..400) {
        match step(&mut dice) {
            Step::Breathe => tokio::time::sleep(std::time::Duration::from_millis(dice.random_range(0..20))).await,
            step => agent.act(&step).await,
        }
    }
    agent.finish().await;
    let heads: BTreeMap<_, _> = agent.heads().into_iter().collect();
    say.send_replace(Some(heads[TALKING[0]]));
    says.send_replace(Some(heads[TALKING[1]]));
    for (session, watching) in watching {
        let seen = watching.await.unwrap();
        let said = agent.said(session);
        for (seq, event) in &seen {
            assert_eq!(Some(event), said.get(seq), "{session}: event {seq} is not what was said");
        }
        for (seq, event) in agent.kept(session).await {
            assert_eq!(seen.get(&seq), Some(&event), "{session}: event {seq} was never seen");
        }
    }
    standing.abort();
    octo.state().system.shutdown(std::time::Duration::ZERO).await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_sees_each_event_once_and_in_order_however_often_the_link_breaks() {
    let (first, rounds) = (seed("feed_faults"), if std::env::var_os("OCTO_FULL").is_some() { 400 } else { 8 });
    let together = 8;
    for chunk in 0..rounds / together {
        let running: Vec<_> = (0..together)
            .map(|n| {
                let seed = first.wrapping_add(chunk * together + n);
                (seed, tokio::spawn(tokio::time::timeout(PATIENCE, round(seed))))
            })
            .collect();
        for (seed, running) in running {
            match running.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => panic!("OCTO_SEED={seed}: somebody waits for ever"),
                Err(panic) => panic!("OCTO_SEED={seed}: {panic}"),
            }
        }
    }
}
