use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use octo_actors::{Actor, ActorState, Backoff, Ctx, Failure, Kind, Lifecycle, StartError, StopError, Stopped, System};
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
    for _ in 0..2 {
        waiting.ready(SOON).await.unwrap();
        waiting.tell(Msg::Fail).unwrap();
        settle().await;
    }
    assert_eq!(waiting.state(), ActorState::Restarting);
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
    system.directory().restart(probe.path()).await.unwrap();
    probe.tell(Msg::Fail).unwrap();
    tokio::time::sleep(SOON).await;
    assert_eq!(total(&probe).await, 0, "and a restart by hand gives it back");
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
    let asked_at = Instant::now();
    system.shutdown(SOON * 10).await;
    assert!(asked_at.elapsed() < SOON * 2);
    assert_eq!((stuck.alive(), store.alive(), store.stoppings.load(SeqCst)), (0, 0, 1));
}

type Releases = Arc<Mutex<Vec<std::sync::mpsc::Sender<()>>>>;

/// What blocks its thread, which nothing can interrupt, until the test releases it. It hands its worker's other tasks
/// over first: a worker blocked outright can hold tokio's timers.
#[derive(Clone, Copy)]
enum Where {
    Handler,
    Task,
    Child,
}

struct Blocker {
    place: Where,
    releases: Releases,
}

impl Actor for Blocker {
    type Msg = mpsc::UnboundedSender<()>;
    type Args = (Where, Releases);
    async fn start((place, releases): Self::Args, _: &Ctx<Self::Msg>) -> Result<Self, Failure> {
        Ok(Self { place, releases })
    }
    async fn handle(&mut self, inside: Self::Msg, ctx: &Ctx<Self::Msg>) -> Result<(), Failure> {
        let (release, blocked) = std::sync::mpsc::channel();
        match self.place {
            Where::Handler => {
                self.releases.lock().unwrap().push(release);
                inside.send(())?;
                Ok(tokio::task::block_in_place(|| blocked.recv())?)
            }
            Where::Task => {
                self.releases.lock().unwrap().push(release);
                ctx.spawn_quiet(async move {
                    inside.send(()).unwrap();
                    tokio::task::block_in_place(|| blocked.recv()).unwrap();
                })?;
                Ok(())
            }
            Where::Child => {
                let args = (Where::Handler, Arc::clone(&self.releases));
                let child = ctx.children().start_child::<Self>(Kind::permanent("below"), "below", move || args.clone()).await?;
                Ok(child.tell(inside)?)
            }
        }
    }
}

async fn blocked(system: &System, place: Where) -> (octo_actors::Address<mpsc::UnboundedSender<()>>, Releases) {
    let releases = Releases::default();
    let kind = Kind::permanent("blocker").stop_within(Duration::ZERO).backoff(Backoff::NONE);
    let args = (place, Arc::clone(&releases));
    let blocker = system.root().start_child::<Blocker>(kind, "blocker", move || args.clone()).await.unwrap();
    let (inside, mut told) = mpsc::unbounded_channel();
    blocker.tell(inside).unwrap();
    told.recv().await.unwrap();
    (blocker, releases)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_blocks_its_thread_is_said_to_linger_and_keeps_its_place() {
    let system = System::new();
    let (blocker, releases) = blocked(&system, Where::Handler).await;
    assert_eq!(system.root().stop_child("blocker", Duration::ZERO).await, Err(StopError::Lingers(blocker.path().clone())));
    assert_eq!(blocker.state(), ActorState::Stopping);
    let taken = system.root().start_child::<Probe>(Kind::permanent("other"), "blocker", Lab::new).await;
    assert_eq!(taken.map(drop), Err(StartError::Exists(blocker.path().clone())));
    releases.lock().unwrap()[0].send(()).unwrap();
    blocker.closed().await;
    assert_eq!(system.directory().list(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_successor_waits_for_the_last_handler_task_and_child_of_the_old_incarnation() {
    for place in [Where::Handler, Where::Task, Where::Child] {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&steps);
        let system = System::builder()
            .on_change(move |change| {
                if change.path == path("/blocker") && change.what == Lifecycle::Started {
                    seen.lock().unwrap().push("started");
                }
            })
            .start();
        let (blocker, releases) = blocked(&system, place).await;
        let release = async {
            // Time in which a successor that does not wait would start; one that waits does not mind.
            tokio::time::sleep(Duration::from_millis(100)).await;
            steps.lock().unwrap().push("released");
            releases.lock().unwrap()[0].send(()).unwrap();
        };
        let (restarted, ()) = tokio::join!(system.directory().restart(blocker.path()), release);
        restarted.unwrap();
        blocker.ready(SOON * 60).await.unwrap();
        while steps.lock().unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*steps.lock().unwrap(), ["started", "released", "started"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_lingers_does_not_keep_what_it_stands_on_from_stopping_in_order() {
    let (system, lab) = (System::new(), Lab::new());
    let store = child(system.root(), Kind::permanent("store"), "store", &lab).await;
    store.ready(SOON * 60).await.unwrap();
    let (_blocker, releases) = blocked(&system, Where::Handler).await;
    let release = async {
        store.closed().await;
        releases.lock().unwrap()[0].send(()).unwrap();
    };
    tokio::join!(system.shutdown(SOON * 60), release);
    assert_eq!((lab.stoppings.load(SeqCst), system.directory().list().len()), (1, 0));
}
