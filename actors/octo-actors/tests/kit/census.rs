use octo_actors::{ActorState, Kind, ProcessUsage, System};

use crate::lab::*;

#[tokio::test(start_paused = true)]
async fn actors_are_counted_by_kind_with_what_waits_and_what_was_refused() {
    let (system, lab) = (System::new(), Lab::new());
    let kind = Kind::permanent("probe").mailbox(4);
    let probe = child(system.root(), kind, "one", &lab).await;
    child(system.root(), kind, "two", &lab).await;
    let lonely = child(system.root(), Kind::temporary("lonely"), "three", &lab).await;
    lonely.tell(Msg::Stop).unwrap();
    lonely.closed().await;
    hang(&probe).await;
    for _ in 0..5 {
        let _ = probe.tell(Msg::Add(1));
    }
    tokio::time::sleep(kind.stuck_after * 2).await;
    let census = system.directory().census();
    let of = |name: &str| census.iter().find(|kind| kind.kind == name).unwrap().clone();
    let count = |kind: &octo_actors::KindCensus, state: ActorState| kind.states.iter().find(|(known, _)| *known == state.word()).unwrap().1;
    let probes = of("probe");
    assert_eq!((count(&probes, ActorState::Running), count(&probes, ActorState::Stuck)), (1, 1));
    assert_eq!((probes.waiting, probes.waiting_max, probes.fill_max, probes.busy), (4, 4, 1.0, 1));
    assert_eq!(of("lonely").states.iter().map(|(_, count)| count).sum::<u64>(), 0, "a kind stays when its last actor has ended");
}

#[tokio::test(start_paused = true)]
async fn restarts_and_actors_that_were_given_up_are_counted_and_stay_counted() {
    let (system, probe, lab) = probe(Kind::permanent("probe").intensity(1, SOON * 60).degrade()).await;
    probe.tell(Msg::Fail).unwrap();
    settle().await;
    probe.ready(SOON).await.unwrap();
    probe.tell(Msg::Fail).unwrap();
    tokio::time::sleep(SOON).await;
    let of = || system.directory().census().into_iter().find(|kind| kind.kind == "probe").unwrap();
    assert_eq!((of().restarts, of().given_up), (1, 1));
    assert_eq!(of().states.iter().find(|(state, _)| *state == "degraded").unwrap().1, 1);
    system.directory().restart(probe.path()).await.unwrap();
    system.root().stop_child("probe", SOON).await.unwrap();
    assert_eq!((of().restarts, of().given_up, lab.alive()), (1, 1, 0), "one that a person asked for does not count");
    assert!(ProcessUsage::now().cpu_seconds > 0.0);
}
