use std::time::Duration;

use octo_actors::{ActorState, Kind, MAX_TAPS, Outcome, REFRESH, System, TRACE_BUFFER};
use serde_json::json;

use crate::lab::*;

#[tokio::test(start_paused = true)]
async fn a_stuck_actor_is_shown_as_stuck_and_can_still_be_inspected() {
    let (system, probe, _) = probe(Kind::permanent("probe").stuck_after(SOON)).await;
    probe.tell(Msg::Add(4)).unwrap();
    tokio::time::sleep(REFRESH).await;
    hang(&probe).await;
    probe.tell(Msg::Add(1)).unwrap();
    assert_eq!(probe.state(), ActorState::Running);
    tokio::time::sleep(SOON + Duration::from_millis(1)).await;
    let seen = system.directory().inspect(probe.path()).unwrap();
    assert_eq!(seen.row.state, ActorState::Stuck);
    assert_eq!((seen.row.busy_with.as_deref(), seen.row.mailbox), (Some("Hang"), 1));
    assert!(seen.row.busy_ms.unwrap() > 1000);
    assert_eq!(seen.snapshot, json!({ "total": 4 }));
    assert!(seen.age_ms.unwrap() >= 1000);
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_taken_at_most_every_250_ms_and_the_last_change_is_always_seen() {
    let (system, probe, _) = probe(Kind::permanent("probe")).await;
    let seen = || system.directory().inspect(probe.path()).unwrap().snapshot;
    assert_eq!(seen(), json!({ "total": 0 }));
    for _ in 0..10 {
        probe.tell(Msg::Add(1)).unwrap();
    }
    settle().await;
    assert_eq!(seen(), json!({ "total": 0 }), "too early for another");
    tokio::time::sleep(REFRESH + Duration::from_millis(2)).await;
    assert_eq!(seen(), json!({ "total": 10 }), "refreshed without another message");
}

#[tokio::test(start_paused = true)]
async fn what_an_actor_finds_wrong_with_itself_is_in_its_row_as_long_as_it_is_so_and_it_runs() {
    let (system, probe, _) = probe(Kind::permanent("probe").intensity(0, SOON).degrade()).await;
    let trouble = || system.directory().get(probe.path()).unwrap().trouble;
    assert_eq!(trouble(), None);
    probe.tell(Msg::Add(TOO_MUCH)).unwrap();
    tokio::time::sleep(2 * REFRESH).await;
    assert_eq!(trouble().as_deref(), Some("it is too much"));
    // To more than there is number for, and so to little again.
    probe.tell(Msg::Add(u64::MAX - TOO_MUCH + 1)).unwrap();
    tokio::time::sleep(2 * REFRESH).await;
    assert_eq!(trouble(), None);
    probe.tell(Msg::Add(TOO_MUCH)).unwrap();
    tokio::time::sleep(2 * REFRESH).await;
    probe.tell(Msg::Fail).unwrap();
    tokio::time::sleep(2 * REFRESH).await;
    assert_eq!((probe.state(), trouble()), (ActorState::Degraded, None));
}

/// Paused clocks stand still between two looks at them; this one does not.
#[tokio::test]
async fn an_actor_says_what_it_is_before_anybody_has_told_it_anything_and_after() {
    let (system, probe, _) = probe(Kind::permanent("probe")).await;
    let mut wanted = 0;
    while wanted < 3 {
        let seen = system.directory().inspect(probe.path()).unwrap();
        if seen.snapshot == json!({ "total": wanted }) {
            assert!(seen.age_ms.is_some());
            probe.tell(Msg::Add(1)).unwrap();
            wanted += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_tells_what_there_is_to_know() {
    let (system, probe, _) = probe(Kind::permanent("probe").mailbox(9)).await;
    probe.tell(Msg::Add(1)).unwrap();
    probe.tell(Msg::Fail).unwrap();
    tokio::time::sleep(SOON).await;
    let row = system.directory().get(&path("/probe")).unwrap();
    assert_eq!((row.kind.as_str(), row.state, row.restarts, row.mailbox, row.mailbox_limit), ("probe", ActorState::Running, 1, 0, 9));
    assert_eq!((row.processed, row.last_error.as_deref(), row.busy_ms, row.remote), (4, Some("fails as told"), None, false));
    let json = serde_json::to_value(&row).unwrap();
    assert_eq!((&json["state"], &json["path"]), (&json!("running"), &json!("/probe")));
    assert_eq!(serde_json::from_value::<octo_actors::ActorRow>(json).unwrap(), row);
}

#[tokio::test(start_paused = true)]
async fn a_trace_shows_every_message_below_its_path_with_times_and_outcome() {
    let (system, probe, lab) = probe(Kind::permanent("probe")).await;
    let other = child(system.root(), Kind::permanent("probe"), "probe2", &lab).await;
    other.ready(SOON).await.unwrap();
    let mut trace = system.directory().trace(path("/probe")).unwrap();
    probe.tell(Msg::Hold).unwrap();
    probe.tell(Msg::Add(1)).unwrap();
    other.tell(Msg::Add(1)).unwrap();
    tokio::time::sleep(SOON).await;
    lab.release.notify_one();
    let hold = trace.next().await.unwrap();
    assert_eq!((hold.message.as_str(), hold.outcome, hold.path), ("Hold", Outcome::Ok, path("/probe")));
    assert!(hold.handled_us >= 1_000_000);
    let add = trace.next().await.unwrap();
    assert_eq!((add.message.as_str(), add.outcome), ("Add", Outcome::Ok));
    assert!(add.queued_us.unwrap() >= 1_000_000 && add.handled_us < 1_000_000);
    probe.tell(Msg::Fail).unwrap();
    assert_eq!(trace.next().await.unwrap().outcome, Outcome::Failed);
    probe.ready(SOON).await.unwrap();
    assert_eq!(trace.next().await.unwrap().message, "start");
    probe.tell(Msg::Panic).unwrap();
    assert_eq!(trace.next().await.unwrap().outcome, Outcome::Panicked);
    probe.ready(SOON).await.unwrap();
    assert_eq!(trace.next().await.unwrap().message, "start");
    hang(&probe).await;
    let _ = system.root().stop_child("probe", Duration::ZERO).await;
    assert_eq!(trace.next().await.unwrap().outcome, Outcome::Killed);
    assert!(trace.try_next().is_none());
    assert_eq!(trace.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_trace_that_is_not_read_slows_nobody_and_counts_what_it_lost() {
    let (system, probe, _) = probe(Kind::permanent("probe").mailbox(10_000)).await;
    let mut trace = system.directory().trace(path("/")).unwrap();
    for _ in 0..TRACE_BUFFER + 76 {
        probe.tell(Msg::Add(1)).unwrap();
    }
    assert_eq!(total(&probe).await as usize, TRACE_BUFFER + 76);
    settle().await;
    assert_eq!(trace.dropped(), 77, "and the question itself");
    let mut read = 0;
    while trace.try_next().is_some() {
        read += 1;
    }
    assert_eq!(read, TRACE_BUFFER);
}

#[tokio::test]
async fn traces_are_limited_and_end_when_dropped() {
    let system = System::new();
    let mut open: Vec<_> = (0..MAX_TAPS).map(|_| system.directory().trace(path("/")).unwrap()).collect();
    assert!(system.directory().trace(path("/")).is_err());
    open.pop();
    assert!(system.directory().trace(path("/")).is_ok());
}
