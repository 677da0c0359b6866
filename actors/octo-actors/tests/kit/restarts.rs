use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use octo_actors::{ActorState, Backoff, Kind, Lifecycle, System};
use tokio::time::Instant;

use crate::lab::*;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_panic_restarts_the_actor_from_a_fresh_state() {
    let (system, probe, lab) = probe(Kind::permanent("probe")).await;
    probe.tell(Msg::Add(7)).unwrap();
    probe.tell(Msg::Panic).unwrap();
    tokio::time::sleep(SOON).await;
    assert_eq!(total(&probe).await, 0);
    assert_eq!((lab.starts(), lab.alive()), (2, 1));
    let row = system.directory().get(probe.path()).unwrap();
    assert_eq!((row.restarts, row.state), (1, ActorState::Running));
    assert!(row.last_error.unwrap().contains("panics as told"));
}

#[tokio::test(start_paused = true)]
async fn permanent_comes_back_from_any_end_transient_from_failures_temporary_never() {
    for (kind, after_stop, after_failure) in
        [(Kind::permanent("probe"), 2, 2), (Kind::transient("probe"), 1, 2), (Kind::temporary("probe"), 1, 1)]
    {
        for (end, starts) in [(Msg::Stop, after_stop), (Msg::Fail, after_failure), (Msg::Panic, after_failure)] {
            let (system, probe, lab) = probe(kind).await;
            probe.tell(end).unwrap();
            tokio::time::sleep(SOON).await;
            assert_eq!(lab.starts(), starts, "{kind:?}");
            assert_eq!(lab.alive(), u32::from(starts == 2), "{kind:?}");
            assert_eq!(system.directory().list().len(), usize::from(starts == 2), "{kind:?}");
            if starts == 1 {
                probe.closed().await;
                assert_eq!(system.directory().ended()[0].path, *probe.path());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_restart_is_at_once_and_repeats_wait_longer_and_longer_up_to_the_cap_until_there_was_a_quiet_period() {
    let waits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&waits);
    let system = System::builder()
        .on_change(move |change| {
            if let Lifecycle::Restarting { after, .. } = change.what {
                seen.lock().unwrap().push(after.as_millis());
            }
        })
        .start();
    let backoff = Backoff { jitter: 0.0, ..Backoff::new(Duration::from_millis(100), SOON) };
    let lab = Lab::new();
    let probe = child(system.root(), Kind::permanent("link").unlimited().backoff(backoff), "link", &lab).await;
    for _ in 0..7 {
        probe.ready(MINUTE).await.unwrap();
        probe.tell(Msg::Fail).unwrap();
        settle().await;
    }
    probe.ready(MINUTE).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    probe.tell(Msg::Fail).unwrap();
    settle().await;
    assert_eq!(*waits.lock().unwrap(), [0, 100, 200, 400, 800, 1000, 1000, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_first_restart_takes_no_time_at_all() {
    let backoff = Backoff { jitter: 0.0, ..Backoff::new(SOON, MINUTE) };
    let (_system, probe, lab) = probe(Kind::permanent("probe").backoff(backoff)).await;
    let failed_at = Instant::now();
    probe.tell(Msg::Panic).unwrap();
    // The clock moves only when everything waits for it.
    while total_if_alive(&probe).await.is_none() || lab.starts() == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!((lab.starts(), failed_at.elapsed()), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_restart_comes_after_its_backoff_and_not_before() {
    let backoff = Backoff { jitter: 0.0, ..Backoff::new(SOON, MINUTE) };
    let (_system, probe, lab) = probe(Kind::permanent("probe").backoff(backoff)).await;
    probe.tell(Msg::Fail).unwrap();
    settle().await;
    probe.ready(MINUTE).await.unwrap();
    let failed_at = Instant::now();
    probe.tell(Msg::Fail).unwrap();
    tokio::time::sleep(SOON - Duration::from_millis(5)).await;
    assert_eq!((lab.starts(), probe.state()), (2, ActorState::Restarting));
    probe.ready(MINUTE).await.unwrap();
    assert!(failed_at.elapsed() >= SOON);
}

#[tokio::test(start_paused = true)]
async fn beyond_its_intensity_a_degrading_actor_stays_down_alone_until_a_person_restarts_it() {
    let (changes, lab, other) = (Arc::new(Mutex::new(Vec::new())), Lab::new(), Lab::new());
    let told = Arc::clone(&changes);
    let system = System::builder().on_change(move |change| told.lock().unwrap().push(change.clone())).start();
    let kind = Kind::permanent("user").intensity(2, MINUTE).backoff(Backoff::NONE).degrade();
    let alice = child(system.root(), kind, "users/alice", &lab).await;
    let bob = child(system.root(), kind, "users/bob", &other).await;
    bob.tell(Msg::Add(5)).unwrap();
    for _ in 0..3 {
        alice.ready(SOON).await.unwrap();
        alice.tell(Msg::Fail).unwrap();
        settle().await;
    }
    tokio::time::sleep(MINUTE * 60).await;
    assert_eq!((alice.state(), lab.starts(), lab.alive()), (ActorState::Degraded, 3, 0));
    assert!(alice.ready(SOON).await.unwrap_err().to_string().contains("fails as told"));
    let degraded = changes.lock().unwrap().iter().any(|c| c.path == *alice.path() && matches!(c.what, Lifecycle::Degraded { .. }));
    assert!(degraded);
    assert_eq!((total(&bob).await, other.starts()), (5, 1), "nobody else is touched");
    system.directory().restart(alice.path()).await.unwrap();
    alice.ready(SOON).await.unwrap();
    assert_eq!(total(&alice).await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_intensity_is_a_sliding_window() {
    let kind = Kind::permanent("probe").intensity(2, MINUTE).backoff(Backoff::NONE).degrade();
    let (_system, probe, lab) = probe(kind).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(31)).await;
        probe.tell(Msg::Fail).unwrap();
    }
    settle().await;
    assert_eq!((lab.starts(), probe.state()), (21, ActorState::Running));
}

#[tokio::test(start_paused = true)]
async fn beyond_its_intensity_an_escalating_child_fails_its_parent_which_starts_afresh_with_new_children() {
    let (system, parent, _) = probe(Kind::permanent("parent")).await;
    let lab = Lab::new();
    let kind = Kind::permanent("child").intensity(1, MINUTE).backoff(Backoff::NONE);
    let first = parent.ask(|r| Msg::Child(kind, "child", Arc::clone(&lab), r), SOON).await.unwrap();
    for _ in 0..2 {
        first.ready(SOON).await.unwrap();
        first.tell(Msg::Fail).unwrap();
        settle().await;
    }
    first.closed().await;
    tokio::time::sleep(SOON).await;
    let row = system.directory().get(parent.path()).unwrap();
    assert_eq!((row.restarts, row.state), (1, ActorState::Running));
    assert!(row.last_error.unwrap().contains("/probe/child failed more than 1 times"));
    assert_eq!(lab.alive(), 0);
    let again = parent.ask(|r| Msg::Child(kind, "child", Arc::clone(&lab), r), SOON).await.unwrap();
    assert_eq!(total(&again).await, 0);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_roots_intensity_the_system_fails_and_says_why() {
    let kind = Kind::permanent("store").intensity(0, MINUTE);
    let (system, store, lab) = probe(kind).await;
    store.tell(Msg::Fail).unwrap();
    let why = system.failed().await;
    assert!(why.contains("/probe failed more than 0 times in 60s: fails as told"), "{why}");
    store.closed().await;
    settle().await;
    assert_eq!((lab.alive(), system.directory().list().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_is_a_failure_like_any_other() {
    let (system, lab) = (System::new(), Lab::new());
    lab.start_fails.store(true, SeqCst);
    let temporary = child(system.root(), Kind::temporary("probe"), "temporary", &lab).await;
    assert!(temporary.ready(SOON).await.unwrap_err().to_string().contains("start fails as told"));
    let permanent = child(system.root(), Kind::permanent("probe"), "permanent", &lab).await;
    settle().await;
    // At once it has failed once more.
    lab.start_fails.store(false, SeqCst);
    permanent.ready(SOON).await.unwrap();
    assert_eq!((system.directory().get(permanent.path()).unwrap().restarts, lab.alive()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_old_incarnation_is_gone_with_its_tasks_and_children_before_the_new_one_starts() {
    let kind = Kind::permanent("probe").backoff(Backoff::NONE).unlimited();
    let (_system, probe, lab) = probe(kind).await;
    for end in [Msg::Fail, Msg::Panic, Msg::Stop, Msg::OwnPanic] {
        probe.ready(SOON).await.unwrap();
        probe.ask(Msg::OwnTask, SOON).await.unwrap();
        let below = probe.ask(|r| Msg::Child(kind, "below", Arc::clone(&lab), r), SOON).await.unwrap();
        below.ask(Msg::OwnTask, SOON).await.unwrap();
        assert_eq!(lab.alive(), 4);
        hang(&below).await;
        probe.tell(end).unwrap();
        below.closed().await;
        settle().await;
    }
    probe.ready(SOON).await.unwrap();
    assert_eq!((lab.alive(), lab.most_alive.load(SeqCst)), (1, 4), "five would be an overlap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_two_incarnations_never_overlap() {
    let kind = Kind::permanent("probe").backoff(Backoff::NONE).unlimited();
    let (_system, probe, lab) = probe(kind).await;
    for round in 0..200 {
        while probe.ask(Msg::OwnTask, SOON).await.is_err() {
            tokio::task::yield_now().await;
        }
        let end = if round % 2 == 0 { Msg::Fail } else { Msg::Stop };
        let _ = probe.tell(end);
    }
    assert!(lab.starts() >= 100);
    assert!(lab.most_alive.load(SeqCst) <= 2, "one state and its one task");
}

#[tokio::test(start_paused = true)]
async fn an_actor_inside_one_message_for_too_long_is_ended_and_comes_back_where_its_kind_says_so() {
    let (system, lab) = (System::new(), Lab::new());
    let kind = Kind::permanent("probe").stuck_after(SOON).restart_stuck(10 * SOON).backoff(Backoff::NONE);
    let restarted = child(system.root(), kind, "restarted", &lab).await;
    let shown = child(system.root(), Kind::permanent("probe").stuck_after(SOON), "shown", &Lab::new()).await;
    // Busy for long, but never in one message: that is work.
    let busy = child(system.root(), kind, "busy", &Lab::new()).await;
    hang(&restarted).await;
    hang(&shown).await;
    for _ in 0..9 {
        tokio::time::sleep(SOON).await;
        busy.tell(Msg::Add(1)).unwrap();
    }
    let state = |of: &octo_actors::Address<Msg>| system.directory().get(of.path()).unwrap().state;
    assert_eq!((state(&restarted), lab.starts()), (ActorState::Stuck, 1), "shown first, and given its time");
    tokio::time::sleep(4 * SOON).await;
    assert_eq!((lab.starts(), lab.alive()), (2, 1), "what it held is dropped");
    assert_eq!(total(&restarted).await, 0);
    let row = system.directory().get(restarted.path()).unwrap();
    assert!(row.last_error.as_deref().is_some_and(|e| e.starts_with("was inside the message Hang for 1")), "{row:?}");
    assert_eq!(state(&shown), ActorState::Stuck);
    assert_eq!(system.directory().get(busy.path()).unwrap().restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_gets_stuck_again_and_again_is_degraded_like_any_other_that_fails() {
    let (system, lab) = (System::new(), Lab::new());
    let kind = Kind::transient("probe").restart_stuck(SOON).intensity(2, MINUTE).degrade().backoff(Backoff::NONE);
    let probe = child(system.root(), kind, "probe", &lab).await;
    for starts in 2..=3 {
        hang(&probe).await;
        tokio::time::sleep(2 * SOON).await;
        assert_eq!(lab.starts(), starts);
    }
    hang(&probe).await;
    tokio::time::sleep(2 * SOON).await;
    assert_eq!((probe.state(), lab.starts(), lab.alive()), (ActorState::Degraded, 3, 0));
}
