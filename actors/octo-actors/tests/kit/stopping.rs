use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use octo_actors::{Actor, ActorState, Ctx, Failure, Kind, Lifecycle, StartError, StopError, Stopped, System};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::lab::*;

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_says_last_words_and_ends_even_a_permanent_actor() {
    let (system, probe, lab) = probe(Kind::permanent("probe")).await;
    assert_eq!(system.root().stop_child("probe", SOON).await, Ok(Stopped::Gracefully));
    assert_eq!((lab.stoppings.load(SeqCst), lab.alive(), lab.starts()), (1, 0, 1));
    assert_eq!(probe.state(), ActorState::Stopped);
    assert_eq!(system.root().stop_child("probe", SOON).await, Err(StopError::NotFound(path("/probe"))));
    child(system.root(), Kind::permanent("probe"), "probe", &lab).await.ready(SOON).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_actor_stuck_in_a_message_is_killed_at_the_deadline_and_its_resources_are_dropped() {
    let (system, probe, lab) = probe(Kind::permanent("probe")).await;
    hang(&probe).await;
    let asked_at = Instant::now();
    assert_eq!(system.root().stop_child("probe", SOON).await, Ok(Stopped::Killed));
    assert!(asked_at.elapsed() >= SOON);
    assert_eq!((lab.stoppings.load(SeqCst), lab.alive()), (0, 0), "no last words after a kill");
}

#[tokio::test(start_paused = true)]
async fn last_words_that_never_end_are_cut_at_the_deadline_and_children_still_stop_with_their_own_last_words() {
    let (system, parent, lab) = probe(Kind::permanent("parent")).await;
    let lab_below = Lab::new();
    let below = parent.ask(|r| Msg::Child(Kind::permanent("child"), "child", Arc::clone(&lab_below), r), SOON).await.unwrap();
    below.ready(SOON).await.unwrap();
    lab.stop_hangs.store(true, SeqCst);
    let _ = system.root().stop_child("probe", SOON).await;
    assert_eq!((lab.alive(), lab_below.alive()), (0, 0));
    assert_eq!(system.directory().list(), []);
}

#[tokio::test(start_paused = true)]
async fn a_parent_stopped_gracefully_stops_its_children_gracefully() {
    let (system, parent, _lab) = probe(Kind::permanent("parent")).await;
    let below = Lab::new();
    let child = parent.ask(|r| Msg::Child(Kind::permanent("child"), "child", Arc::clone(&below), r), SOON).await.unwrap();
    child.ready(SOON).await.unwrap();
    assert_eq!(system.root().stop_child("probe", SOON).await, Ok(Stopped::Gracefully));
    assert_eq!((below.stoppings.load(SeqCst), below.alive()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn one_in_backoff_or_degraded_stops_at_once() {
    let (system, waiting, _) = probe(Kind::permanent("probe")).await;
    waiting.tell(Msg::Fail).unwrap();
    settle().await;
    assert_eq!(system.root().stop_child("probe", SOON).await, Ok(Stopped::Gracefully));
    let (system, degraded, lab) = probe(Kind::permanent("probe").intensity(0, SOON).degrade()).await;
    degraded.tell(Msg::Fail).unwrap();
    settle().await;
    assert_eq!(degraded.state(), ActorState::Degraded);
    assert_eq!(system.directory().stop(degraded.path()).await, Ok(Stopped::Gracefully));
    tokio::time::sleep(SOON * 60).await;
    assert_eq!((lab.starts(), lab.alive()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_restart_by_hand_is_graceful_fresh_and_not_counted_against_the_intensity() {
    let (system, probe, lab) = probe(Kind::permanent("probe").intensity(1, SOON * 1000)).await;
    for _ in 0..5 {
        probe.tell(Msg::Add(1)).unwrap();
        system.directory().restart(probe.path()).await.unwrap();
        assert_eq!(total(&probe).await, 0);
    }
    assert_eq!((lab.starts(), lab.stoppings.load(SeqCst)), (6, 5));
    probe.tell(Msg::Fail).unwrap();
    tokio::time::sleep(SOON).await;
    assert_eq!(total(&probe).await, 0, "its one restart is still its own");
    hang(&probe).await;
    system.directory().restart(probe.path()).await.unwrap();
    assert_eq!(total(&probe).await, 0, "a stuck one is killed and started afresh");
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_kinds_in_reverse_order_of_start_and_takes_no_newcomers() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ended);
    let system = System::builder()
        .on_change(move |change| {
            if let Lifecycle::Ended { .. } = change.what {
                seen.lock().unwrap().push(change.kind);
            }
        })
        .start();
    let (store, http) = (Lab::new(), Lab::new());
    child(system.root(), Kind::permanent("store"), "store", &store).await;
    for name in ["users/alice", "users/bob"] {
        child(system.root(), Kind::permanent("user"), name, &Lab::new()).await;
    }
    child(system.root(), Kind::permanent("http"), "http", &http).await.ready(SOON).await.unwrap();
    http.stop_hangs.store(true, SeqCst);
    let late = async {
        settle().await;
        let refused = system.root().start_child::<Probe>(Kind::permanent("late"), "late", Lab::new).await;
        http.release.notify_one();
        refused.map(drop)
    };
    let ((), late) = tokio::join!(system.shutdown(SOON), late);
    assert_eq!(late, Err(StartError::Gone(path("/"))));
    assert_eq!(*ended.lock().unwrap(), ["http", "user", "user", "store"]);
    assert_eq!((store.alive(), store.stoppings.load(SeqCst)), (0, 1));
    assert_eq!(system.directory().list(), []);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_stop_costs_its_own_time_and_no_others_grace() {
    let (system, store, stuck) = (System::new(), Lab::new(), Lab::new());
    child(system.root(), Kind::permanent("store"), "store", &store).await.ready(SOON).await.unwrap();
    let kind = Kind::permanent("stuck").stop_within(SOON);
    hang(&child(system.root(), kind, "stuck", &stuck).await).await;
    system.shutdown(SOON * 10).await;
    assert_eq!((stuck.alive(), store.alive(), store.stoppings.load(SeqCst)), (0, 0, 1));
}

/// Blocks its thread, which nothing can interrupt, until the test sends.
struct Blocker(std::sync::mpsc::Receiver<()>);

impl Actor for Blocker {
    type Msg = mpsc::UnboundedSender<()>;
    type Args = std::sync::mpsc::Receiver<()>;
    async fn start(release: Self::Args, _: &Ctx<Self::Msg>) -> Result<Self, Failure> {
        Ok(Self(release))
    }
    async fn handle(&mut self, inside: Self::Msg, _: &Ctx<Self::Msg>) -> Result<(), Failure> {
        inside.send(())?;
        Ok(self.0.recv()?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_blocks_its_thread_is_said_to_linger_and_its_successor_waits_for_it() {
    let system = System::new();
    let releases = Arc::new(Mutex::new(Vec::new()));
    let made = Arc::clone(&releases);
    let factory = move || {
        let (release, blocked) = std::sync::mpsc::channel();
        made.lock().unwrap().push(release);
        blocked
    };
    let blocker = system.root().start_child::<Blocker>(Kind::permanent("blocker"), "blocker", factory).await.unwrap();
    blocker.ready(SOON * 60).await.unwrap();
    let (inside, mut told) = mpsc::unbounded_channel();
    blocker.tell(inside).unwrap();
    told.recv().await.unwrap();
    assert_eq!(system.root().stop_child("blocker", Duration::ZERO).await, Err(StopError::Lingers(blocker.path().clone())));
    assert_eq!(blocker.state(), ActorState::Stopping);
    let taken = system.root().start_child::<Blocker>(Kind::permanent("blocker"), "blocker", || unreachable!()).await;
    assert_eq!(taken.map(drop), Err(StartError::Exists(blocker.path().clone())));
    releases.lock().unwrap()[0].send(()).unwrap();
    blocker.closed().await;
    assert_eq!((system.directory().list(), releases.lock().unwrap().len()), (vec![], 1));
}
