//! The command line: `noun verb`, `--json` everywhere, exit codes that say what went wrong.

mod acp;
mod agents;
mod arguments;
mod completions;
mod config;
mod doctor;
mod exit;
mod output;
mod runner;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Cli, Command};
use exit::Failure;
use octo::config::{Config, Environment, Overrides};
use output::Output;

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    let result = match cli.command {
        Command::Serve(serve) => serve::serve(serve, cli.config, output),
        Command::Config { command } => config::run(command, cli.config, output),
        Command::Agents { command } => agents::run(command, cli.config, output),
        Command::Runner { command } => runner::run(command, cli.config, output),
        Command::Acp(acp) => acp::run(acp, cli.config, output),
        Command::Doctor => doctor::run(cli.config, output),
        Command::Completions { shell } => completions::run(shell),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.code()
        }
    }
}

/// Loads the configuration as every command sees it.
fn load(file: Option<std::path::PathBuf>, overrides: Overrides) -> Result<Config, Failure> {
    Ok(Config::load_with(&Environment::process(), &overrides.file(file))?)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::other(format!("the runtime could not be started: {e}")))
}
