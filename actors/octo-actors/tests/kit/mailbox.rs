use std::time::Duration;

use octo_actors::{AskError, Kind, SendError};

use crate::lab::*;

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_says_busy_and_recovers() {
    let (_system, probe, lab) = probe(Kind::permanent("probe").mailbox(3)).await;
    probe.tell(Msg::Hold).unwrap();
    settle().await; // it is inside `Hold`, nothing waits
    for _ in 0..3 {
        probe.tell(Msg::Add(1)).unwrap();
    }
    let busy = SendError::Busy { path: probe.path().clone(), limit: 3 };
    assert_eq!(probe.tell(Msg::Add(100)), Err(busy.clone()));
    assert_eq!(probe.ask(Msg::Total, SOON).await, Err(AskError::from(busy)));
    assert_eq!(probe.depth(), 3);
    lab.release.notify_one();
    settle().await;
    assert_eq!(probe.depth(), 0);
    assert_eq!(total(&probe).await, 3);
}

#[tokio::test(start_paused = true)]
async fn asking_has_an_answer_a_refusal_a_timeout_or_gone() {
    let (system, probe, _lab) = probe(Kind::temporary("probe")).await;
    let gone = AskError::Gone { path: probe.path().clone() };
    assert_eq!(probe.ask(Msg::Total, SOON).await, Ok(0));
    assert_eq!(probe.ask(Msg::Refuse, SOON).await, Err(AskError::Refused("not today".into())));
    assert_eq!(probe.ask(Msg::Ignore, SOON).await, Err(gone.clone()));
    hang(&probe).await;
    let timeout = AskError::Timeout { path: probe.path().clone(), deadline: SOON };
    assert_eq!(probe.ask(Msg::Total, SOON).await, Err(timeout));
    // Asked while it hangs, ended before it answers.
    let (answer, _) = tokio::join!(probe.ask(Msg::Total, SOON * 60), system.root().stop_child("probe", SOON));
    assert_eq!(answer, Err(gone.clone()));
    assert_eq!(probe.ask(Msg::Total, SOON).await, Err(gone));
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_sender_are_handled_in_order_and_wait_for_a_slow_start() {
    let (system, lab) = (octo_actors::System::new(), Lab::new());
    let probe = child(system.root(), Kind::permanent("probe"), "probe", &lab).await;
    for n in 0..100 {
        probe.tell(Msg::Add(n)).unwrap();
    }
    assert_eq!(total(&probe).await, 99 * 100 / 2);
}

#[tokio::test(start_paused = true)]
async fn unread_messages_of_an_ended_incarnation_give_their_places_back() {
    let (_system, probe, _lab) = probe(Kind::permanent("probe").mailbox(4)).await;
    probe.tell(Msg::Fail).unwrap();
    for _ in 0..3 {
        probe.tell(Msg::Add(1)).unwrap();
    }
    tokio::time::sleep(SOON).await;
    assert_eq!(probe.depth(), 0);
    assert_eq!(total(&probe).await, 0, "unread messages end with their incarnation");
}

#[tokio::test(start_paused = true)]
async fn between_two_incarnations_an_address_says_gone() {
    let (_system, probe, _lab) = probe(Kind::permanent("probe")).await;
    // The first restart leaves no time in between.
    for _ in 0..2 {
        probe.ready(SOON).await.unwrap();
        probe.tell(Msg::Fail).unwrap();
        settle().await;
    }
    assert_eq!(probe.tell(Msg::Add(1)), Err(SendError::Gone { path: probe.path().clone() }));
    assert_eq!(probe.depth(), 0);
    tokio::time::sleep(SOON).await;
    assert_eq!(probe.tell(Msg::Add(1)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_reply_knows_when_nobody_waits_for_it_any_more() {
    let (_system, probe, lab) = probe(Kind::permanent("probe")).await;
    probe.tell(Msg::Hold).unwrap();
    let mut wanted = None;
    let short = Duration::from_millis(10);
    let asked = probe.ask(
        |reply: octo_actors::Reply<()>| {
            wanted = Some(reply);
            Msg::Add(1)
        },
        short,
    );
    assert!(matches!(asked.await, Err(AskError::Timeout { .. })));
    assert!(!wanted.unwrap().is_wanted());
    lab.release.notify_one();
}
