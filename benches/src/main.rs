//! `octo-bench`: what octo costs, each figure beside its physical floor in the same run.
//!
//! A bench runs octo and its floors in turn, in rounds, on the same machine in the same minutes: absolute times drift with the machine,
//! ratios hold. The floors ([`floor`]) are processes of this program; octo is the built binaries beside it, driven as tests drive it.
//!
//! Promises: a bench fails when octo does the work wrong (an event lost, doubled, or out of order), whatever it took; it never fails because the
//! machine is slow. Goals are shown as met or not.
#![allow(clippy::cast_precision_loss, reason = "counts and times of a few seconds are far below 2^52")]

mod audience;
mod figure;
mod floor;
mod measure;
mod process;
mod stage;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use figure::Figures;
use measure::{BENCHES, Scale};
use serde_json::json;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "What octo costs, each figure beside its physical floor in the same run", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run benches, all of them when none is named.
    Run {
        /// Their names; `list` shows them.
        benches: Vec<String>,
        /// Rounds of octo and its floors in turn.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Watchers and connections at most.
        #[arg(long, default_value_t = 10_000)]
        watchers: usize,
        /// Write the figures as JSON too.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Just enough of everything to see that it runs; the figures mean nothing.
        #[arg(long)]
        smoke: bool,
    },
    /// Show the benches.
    List,
    /// Be a floor.
    #[command(subcommand, hide = true)]
    Floor(floor::Floor),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Floor(floor) => floor::run(floor),
        Command::List => {
            BENCHES.iter().for_each(|(name, about)| println!("{name:10} {about}"));
            Ok(())
        }
        Command::Run { benches, rounds, watchers, json, smoke } => {
            let scale = Scale { rounds: if smoke { 1 } else { rounds.max(1) }, smoke, watchers };
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(run(&benches, scale, json))
        }
    }
}

async fn run(names: &[String], scale: Scale, file: Option<PathBuf>) -> Result<()> {
    let all = || BENCHES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names: Vec<String> = if names.is_empty() { all() } else { names.to_vec() };
    let mut figures = Figures::default();
    for name in &names {
        eprintln!("{name}");
        measure::run(name, scale, &mut figures).await.with_context(|| format!("bench {name}"))?;
    }
    println!("{}", figures.table());
    if let Some(file) = file {
        let mut report = figures.json();
        report["rounds"] = json!(scale.rounds);
        report["smoke"] = json!(scale.smoke);
        report["profile"] = json!(if cfg!(debug_assertions) { "debug" } else { "release" });
        std::fs::write(&file, serde_json::to_vec_pretty(&report)?).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}
