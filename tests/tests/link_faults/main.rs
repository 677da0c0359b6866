//! Both ends of the runner link, the real ones, over a connection that splits, delays and cuts at any byte: whatever the schedule, every event
//! arrives once and in order, every request has one answer, credit holds and never runs dry for ever, and a reconnect goes on where it was.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod feed;
mod runner;

use client::Client;
use octo_e2e::seed;
use octo_e2e::wire::{self, Cut, Wire};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use runner::{Agent, Step, TALKING};
use std::sync::Arc;
use std::time::Duration;

/// Patience of a whole schedule: one that deadlocks is one that takes this long. None of them has more to do than a second's work.
const PATIENCE: Duration = Duration::from_secs(60);

fn wire() -> impl Strategy<Value = Wire> {
    let pieces = proptest::collection::vec(prop_oneof![1usize..4, 1usize..64, 64usize..5000, 1usize..70_000], 1..6);
    let pauses = proptest::collection::vec(prop_oneof![4 => Just(0u8), 2 => 1u8..4, 1 => Just(wire::NAP)], 1..5);
    let at = prop_oneof![0usize..200, 0usize..3000, 0usize..60_000];
    let cut = prop_oneof![
        1 => Just(None),
        4 => (any::<bool>(), at).prop_map(|(towards_octo, at)| Some(Cut { towards_octo, at })),
    ];
    (prop_oneof![1usize..64, 64usize..8192, Just(65_536)], pieces, pauses, cut).prop_map(|(room, pieces, pauses, cut)| Wire {
        room,
        pieces,
        pauses,
        cut,
        ..Wire::whole()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..TALKING.len();
    prop_oneof![
        2 => session.clone().prop_map(Step::Start),
        8 => (session.clone(), 0usize..400).prop_map(|(session, length)| Step::Delta(session, length)),
        1 => (session.clone(), 60_000usize..200_000).prop_map(|(session, length)| Step::Delta(session, length)),
        2 => session.clone().prop_map(Step::End),
        2 => session.clone().prop_map(Step::Ephemeral),
        4 => session.prop_map(Step::Commit),
        1 => Just(Step::Prompt),
        2 => Just(Step::Ask),
        2 => Just(Step::Breathe),
    ]
}

async fn run(steps: Vec<Step>, wires: Vec<Wire>, credit: u32) {
    let mut agent = Agent::start().await;
    let mut client = Client::new(agent.serving(), wires, credit, agent.epochs());
    for step in &steps {
        match step {
            Step::Prompt => client.prompt(),
            Step::Ask => client.ask(),
            Step::Breathe => tokio::time::sleep(Duration::from_millis(2)).await,
            other => agent.act(other).await,
        }
    }
    agent.finish().await;
    let (told, prompts) = client.finish(&agent.heads()).await;
    agent.judge(told, prompts).await;
}

fn cases() -> u32 {
    if std::env::var_os("OCTO_FULL").is_some() { 2000 } else { 24 }
}

#[test]
fn every_event_arrives_once_in_order_and_every_request_is_answered_once_whatever_the_connection_does() {
    let config = ProptestConfig {
        cases: cases(),
        rng_seed: RngSeed::Fixed(seed("link_faults")),
        failure_persistence: None,
        max_shrink_iters: 50,
        ..ProptestConfig::default()
    };
    let runtime = Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    let schedule =
        (proptest::collection::vec(step(), 1..80), proptest::collection::vec(wire(), 0..6), prop_oneof![1u32..2000, 2000u32..2_000_000]);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let verdict = runner.run(&schedule, |(steps, wires, credit)| {
        let runtime = Arc::clone(&runtime);
        let task = runtime.spawn(async move { tokio::time::timeout(PATIENCE, run(steps, wires, credit)).await });
        match runtime.block_on(task) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(TestCaseError::fail("it hangs: a deadlock of credit, or an answer that never comes")),
            Err(panic) => {
                let panic = panic.into_panic();
                let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                Err(TestCaseError::fail(text.unwrap_or_default()))
            }
        }
    });
    if let Err(error) = verdict {
        panic!("{error}");
    }
}

/// The same with one event after the other and a cut at each single byte of what the runner says in the course of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_at_each_byte_of_a_short_conversation_loses_nothing() {
    let stride = if std::env::var_os("OCTO_FULL").is_some() { 1 } else { 47 };
    let offset = usize::try_from(seed("each_byte") % stride).unwrap();
    let stride = usize::try_from(stride).unwrap();
    for at in (0..2600).skip(offset).step_by(stride) {
        for towards_octo in [true, false] {
            let cut = Wire { room: 4096, pieces: vec![4096], pauses: vec![0], cut: Some(Cut { towards_octo, at }), ..Wire::whole() };
            let steps = [
                Step::Prompt,
                Step::Start(0),
                Step::Delta(0, 20),
                Step::Commit(0),
                Step::Ask,
                Step::Delta(0, 20),
                Step::End(0),
                Step::Commit(0),
            ];
            let schedule = run(steps.to_vec(), vec![cut], 300);
            tokio::time::timeout(PATIENCE, schedule)
                .await
                .unwrap_or_else(|_| panic!("cut at {at}, towards octo: {towards_octo}: it hangs"));
        }
    }
}
