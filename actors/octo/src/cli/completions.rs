//! `octo completions SHELL`

use clap::CommandFactory;

use super::arguments::Cli;
use super::exit::Failure;

pub fn run(shell: clap_complete::Shell) -> Result<(), Failure> {
    clap_complete::generate(shell, &mut Cli::command(), "octo", &mut std::io::stdout());
    Ok(())
}
