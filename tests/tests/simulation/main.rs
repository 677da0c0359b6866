//! The whole system in one process and in paused time: octo, octo-runner, scripted agents and several clients, over wires that split, delay and break,
//! with kills of anything at any await, a disk that fills up and power that goes. Each seed is one schedule and one history; the history checker judges.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agents;
mod hub;
mod libc_calls;
mod prepared;
mod runner;
mod world;

use octo_e2e::sim::flock::{Played, Report, play};
use octo_e2e::sim::{Act, Plan};
use prepared::Prepared;
use std::collections::BTreeMap;

/// Seeds of a run; of `OCTO_FULL=1`.
const SEEDS: (u64, u64) = (2_000, 50_000);
/// Where CI begins: it judges a change by the same schedules as the change before; everybody else plays new ones.
const CI_SEED: u64 = 4_000_000;
/// Failed seeds after which it is enough.
const ENOUGH: usize = 5;

/// Whether a step is of some kind.
type Of<'a> = &'a dyn Fn(&Act) -> bool;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// `OCTO_SEED`: the first seed, and the only one unless `OCTO_SEEDS` says how many.
#[test]
fn any_schedule_of_faults_loses_doubles_and_reorders_nothing() {
    let usual = if std::env::var_os("OCTO_FULL").is_some() { SEEDS.1 } else { SEEDS.0 };
    let first = setting("OCTO_SEED");
    let count = setting("OCTO_SEEDS").unwrap_or(if first.is_some() { 1 } else { usual });
    let any = || if std::env::var_os("CI").is_some() { CI_SEED } else { u64::from(rand::random::<u32>()) * 100_000 };
    let first = first.unwrap_or_else(any);
    println!("{count} seeds from {first} on");
    let prepared = Prepared::new();
    let (mut sums, mut failed, mut played) = (BTreeMap::<String, u64>::new(), Vec::new(), 0u64);
    let began = std::time::Instant::now();
    play(
        first..first + count,
        cores(),
        |seed| world::play(&prepared, seed),
        |Played { seed, report }| {
            played += 1;
            match report {
                Ok(Report { digest, counts }) => {
                    if count == 1 {
                        println!("seed {seed}: digest {digest:016x}, {counts:?}");
                    }
                    for (name, n) in counts {
                        *sums.entry(name).or_default() += n;
                    }
                }
                Err(why) => {
                    let plan = Plan::of(seed);
                    let steps: String = plan.steps.iter().map(|step| format!("  {step:?}\n")).collect();
                    println!("seed {seed} FAILED: {why}\n{:?}, rough: {}\n{steps}{}", plan.readers, plan.rough, replay(seed));
                    failed.push(seed);
                }
            }
            if played.is_multiple_of(1000) {
                println!("after {:.0} s {played} seeds, {} failed: {sums:?}", began.elapsed().as_secs_f64(), failed.len());
            }
            failed.len() < ENOUGH
        },
    );
    println!("{played} seeds in {:.1} s: {sums:?}", began.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{} of {played} seeds failed:\n{}", failed.len(), failed.iter().map(|s| replay(*s)).collect::<String>());
    if count >= 1000 {
        for name in
            ["events", "turns", "tools", "replays", "jumps", "resyncs", "runner kills", "hub kills", "agents ended", "cuts", "powers"]
        {
            assert!(sums.get(name).is_some_and(|n| *n > 10), "{name}: too few to have shown anything: {sums:?}");
        }
    }
}

fn replay(seed: u64) -> String {
    format!("  replay: OCTO_SEED={seed} cargo nextest run -p octo-e2e --test simulation --no-capture any_schedule\n")
}

#[test]
fn a_seed_has_one_history_whatever_is_played_before_it_and_beside_it() {
    let prepared = Prepared::new();
    let mut digests: BTreeMap<u64, Vec<Result<Report, String>>> = BTreeMap::new();
    // Neighbours that differ, and other numbers of seeds before.
    let seeds: Vec<u64> = (0..40).chain((0..40).rev()).chain([7, 3, 3, 3]).collect();
    play(
        seeds,
        cores(),
        |seed| world::play(&prepared, seed),
        |Played { seed, report }| {
            digests.entry(seed).or_default().push(report);
            true
        },
    );
    for (seed, reports) in &digests {
        let first = reports[0].as_ref().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        for again in reports {
            assert_eq!(again.as_ref(), Ok(first), "seed {seed} has another history");
        }
    }
    let different: std::collections::BTreeSet<u64> =
        digests.values().filter_map(|reports| Some(reports[0].as_ref().ok()?.digest)).collect();
    assert_eq!(different.len(), digests.len(), "seeds are different histories");
}

#[test]
fn a_thousand_seeds_do_everything_to_everybody() {
    let plans: Vec<Plan> = (0..1000).map(Plan::of).collect();
    assert_eq!(plans, (0..1000).map(Plan::of).collect::<Vec<_>>());
    let acts = || plans.iter().flat_map(|plan| &plan.steps).map(|step| &step.act);
    let count = |of: Of<'_>| acts().filter(|act| of(act)).count();
    for cmd in ["prompt", "steer", "follow_up"] {
        assert!(count(&|act| matches!(act, Act::Input { cmd: of, .. } if *of == cmd)) > 100, "{cmd}");
    }
    let kinds: [(&str, Of<'_>); 11] = [
        ("again", &|act| matches!(act, Act::Again { .. })),
        ("abort", &|act| matches!(act, Act::Abort { .. })),
        ("cut", &|act| matches!(act, Act::Cut { .. })),
        ("doze", &|act| matches!(act, Act::Doze { .. })),
        ("break", &|act| matches!(act, Act::Break)),
        ("hold", &|act| matches!(act, Act::Hold { .. })),
        ("agent", &|act| matches!(act, Act::Agent { .. })),
        ("runner", &|act| matches!(act, Act::Runner { .. })),
        ("hub", &|act| matches!(act, Act::Hub { .. })),
        ("full", &|act| matches!(act, Act::Full { .. })),
        ("power", &|act| matches!(act, Act::Power { .. })),
    ];
    for (name, of) in kinds {
        assert!(count(of) > 50, "{name}: {}", count(of));
    }
    for (name, of) in [("questions", 1), ("tools", 2), ("hang", 3), ("exit", 4)] {
        let has = |act: &Act| {
            let Act::Input { script, .. } = act else { return false };
            [script.questions > 0, script.tools > 0, script.hang, script.exit.is_some()][of - 1]
        };
        assert!(count(&has) > 30, "{name}");
    }
}
