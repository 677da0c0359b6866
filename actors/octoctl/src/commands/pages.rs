//! Completions and man pages, made of the arguments.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

use crate::arguments::Cli;
use crate::exit::Failure;
use crate::output::Output;

pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "octoctl", &mut text);
    // A reader that went away is not an error.
    let _ = std::io::stdout().write_all(&text);
    Ok(())
}

pub fn man(dir: Option<&Path>, output: Output) -> Result<(), Failure> {
    let command = Cli::command();
    let Some(dir) = dir else {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text).map_err(|error| Failure::other(format!("the page cannot be made: {error}")))?;
        let _ = std::io::stdout().write_all(&text);
        return Ok(());
    };
    let failed = |error: std::io::Error| Failure::other(format!("the pages cannot be written to {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(command, dir).map_err(failed)?;
    output.say(&format!("the man pages are in {}", dir.display()), &serde_json::json!({ "dir": dir }));
    Ok(())
}
