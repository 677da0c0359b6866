//! `octoctl`: the operator's door to a running octo.
//!
//! It speaks `/api/admin`, over octo's admin socket or over HTTP with the token of an admin, and knows of octo only what the protocol says. When octo
//! is down it says so, and what the runners' own sockets still tell.
//!
//! It never opens a store or a journal, starts no process and signals none: what it changes, octo changes.

mod arguments;
mod bundle;
mod client;
mod commands;
mod exit;
mod output;
mod place;
mod runners;
mod show;
mod top;

use std::process::ExitCode;

use clap::Parser;

use arguments::Cli;
use exit::Failure;
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli, output)),
        Err(error) => Err(Failure::other(format!("the runtime could not be started: {error}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}
