use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use octo_actors::{Kind, MAX_TASKS, SendError, System};

use crate::lab::*;

#[tokio::test(start_paused = true)]
async fn children_die_with_their_parent_and_their_drop_runs_without_last_words() {
    let (system, parent, _) = probe(Kind::temporary("parent")).await;
    let lab = Lab::new();
    let start = |name| {
        let lab = Arc::clone(&lab);
        parent.ask(move |r| Msg::Child(Kind::permanent("child"), name, lab, r), SOON)
    };
    let idle = start("idle").await.unwrap();
    let stuck = start("stuck").await.unwrap();
    let grandchild = idle.ask(|r| Msg::Child(Kind::permanent("child"), "grandchild", Arc::clone(&lab), r), SOON).await.unwrap();
    grandchild.ask(Msg::OwnTask, SOON).await.unwrap();
    hang(&stuck).await;
    assert_eq!((lab.alive(), system.directory().list().len()), (4, 4));
    parent.tell(Msg::Fail).unwrap();
    for address in [&parent, &idle, &stuck, &grandchild] {
        address.closed().await;
    }
    settle().await;
    assert_eq!((lab.alive(), lab.stoppings.load(SeqCst)), (0, 0));
    assert_eq!(system.directory().list(), []);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_system_kills_every_actor_in_it() {
    let (system, probe, lab) = probe(Kind::permanent("probe")).await;
    hang(&probe).await;
    drop(system);
    probe.closed().await;
    settle().await;
    assert_eq!((lab.alive(), lab.starts()), (0, 1));
    assert!(matches!(probe.tell(Msg::Stop), Err(SendError::Gone { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_owned_task_casts_its_result_back() {
    let (_system, probe, _) = probe(Kind::permanent("probe").mailbox(1)).await;
    probe.tell(Msg::Work(5)).unwrap();
    settle().await;
    assert_eq!(total(&probe).await, 5);
}

#[tokio::test(start_paused = true)]
async fn an_owned_task_ends_with_its_actor() {
    let (system, probe, lab) = probe(Kind::permanent("probe")).await;
    probe.ask(Msg::OwnTask, SOON).await.unwrap();
    assert_eq!(lab.alive(), 2);
    system.root().stop_child("probe", SOON).await.unwrap();
    assert_eq!(lab.alive(), 0, "a stop has answered only when its tasks are gone too");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_owned_task_is_a_failure_of_its_actor() {
    let (system, probe, lab) = probe(Kind::permanent("probe")).await;
    probe.tell(Msg::OwnPanic).unwrap();
    tokio::time::sleep(SOON).await;
    assert_eq!(lab.starts(), 2);
    let error = system.directory().get(probe.path()).unwrap().last_error.unwrap();
    assert_eq!(error, "an owned task panicked: the task panics as told");
}

#[tokio::test(start_paused = true)]
async fn tasks_of_one_actor_are_limited() {
    let (_system, probe, lab) = probe(Kind::transient("probe").mailbox(10_000)).await;
    for _ in 0..MAX_TASKS {
        probe.ask(Msg::OwnTask, SOON).await.unwrap();
    }
    assert_eq!(lab.alive() as usize, MAX_TASKS + 1);
    assert!(probe.ask(Msg::OwnTask, SOON).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_finds_the_mailbox_full_is_skipped_not_queued() {
    let system = System::new();
    let ticker = system.root().start_child::<Ticker>(Kind::permanent("ticker").mailbox(2), "ticker", || ()).await.unwrap();
    ticker.ready(SOON).await.unwrap();
    let hold = Duration::from_secs(100);
    ticker.tell(Tick::Sleep(hold)).unwrap();
    tokio::time::sleep(hold / 2).await;
    assert_eq!(ticker.depth(), 2);
    tokio::time::sleep(hold / 2 + SOON / 2).await;
    let ticks = ticker.ask(Tick::Count, SOON).await.unwrap();
    assert!((2..=3).contains(&ticks), "{ticks}");
}

enum Tick {
    Now,
    Sleep(Duration),
    Count(octo_actors::Reply<u32>),
}

struct Ticker(u32);

impl octo_actors::Actor for Ticker {
    type Msg = Tick;
    type Args = ();
    async fn start((): (), ctx: &octo_actors::Ctx<Tick>) -> Result<Self, octo_actors::Failure> {
        ctx.tell_every(SOON, || Tick::Now)?;
        Ok(Self(0))
    }
    async fn handle(&mut self, tick: Tick, _: &octo_actors::Ctx<Tick>) -> Result<(), octo_actors::Failure> {
        match tick {
            Tick::Now => self.0 += 1,
            Tick::Sleep(time) => tokio::time::sleep(time).await,
            Tick::Count(reply) => reply.send(self.0),
        }
        Ok(())
    }
}
