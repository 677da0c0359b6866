//! The arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// octo: a server for AI coding agents.
///
/// Exit codes: 0 done, 1 it failed and the message says why, 2 wrong arguments, 69 something that is needed is taken or missing (a port, the
/// store), 70 octo itself failed, 78 the configuration is wrong.
#[derive(Parser)]
#[command(name = "octo", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// Read this file instead of $XDG_CONFIG_HOME/octo/config.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or Ctrl-C; runners, agents and octo-eavs go on
    Serve(Serve),
    /// The configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// The agents that sessions can have
    Agents {
        #[command(subcommand)]
        command: AgentsCommand,
    },
    /// The daemon that owns a user's agents
    Runner {
        #[command(subcommand)]
        command: RunnerCommand,
    },
    /// An agent for editors that speak the Agent Client Protocol, on standard input and output, in front of an octo that serves
    ///
    /// The token is in OCTO_AUTH_TOKEN, or in a file that only its owner may read. When octo is away it connects again, and goes on where it was.
    Acp(Acp),
    /// What octo needs, what it found, and what to do about the rest
    Doctor,
    /// Completions for a shell, on standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(clap::Args)]
pub struct Serve {
    /// Listen on this address or host name (server.host)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Listen on this port; 0 lets the system choose (server.port)
    #[arg(long, short, value_name = "PORT")]
    pub port: Option<u16>,
}

#[derive(clap::Args)]
pub struct Acp {
    /// Where octo answers, http:// or https://; the one that was started here when it is not said
    #[arg(long, env = "OCTO_SERVER_URL", value_name = "URL")]
    pub url: Option<String>,
    /// Read the token from this file; $XDG_CONFIG_HOME/octo/token when neither it nor OCTO_AUTH_TOKEN says one
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The agent of new sessions; octo's default when it is not said
    #[arg(long, value_name = "NAME")]
    pub harness: Option<String>,
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Every key with its value and where it comes from
    Show {
        /// Also keys whose capability is not built yet
        #[arg(long)]
        all: bool,
        /// Only keys that somebody set
        #[arg(long, conflicts_with = "all")]
        set: bool,
    },
    /// The file that is read
    Path,
    /// Write a file with the defaults; one that exists is kept beside it
    Reset {
        /// Replace a file that exists
        #[arg(long)]
        yes: bool,
    },
    /// Every key with what it takes and does
    Keys,
}

#[derive(Subcommand)]
pub enum AgentsCommand {
    /// Every agent of the registry: its version, where it is, how to get it
    List,
    /// Install agents into octo's prefix, in the versions that octo is tested with, with a Node of their own
    ///
    /// With npm, exactly as the lock file says that this octo comes with. Agents that run go on undisturbed; sessions get the new ones with the next start of
    /// theirs. An installation that is broken off is made whole by the next.
    Install {
        /// Only these, beside those that are there already; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Install what package.json and package-lock.json in this folder say instead of octo's own choice
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// Look whether agents can work: found, version, Node, providers; and start each in its sandbox to see whether it answers
    Doctor {
        /// Only these; all that are offered when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Start none
        #[arg(long)]
        no_start: bool,
    },
}

#[derive(Subcommand)]
pub enum RunnerCommand {
    /// Start it, if it does not run
    Start(User),
    /// End it, with its agents
    Stop(User),
    /// End it, with its agents, and start it again
    Restart(User),
    /// Replace its program in place; its agents go on
    ///
    /// The same process, the same agents in the middle of whatever they are at, no event lost. The new program is asked first whether it can go on. When
    /// it cannot, or the runner does not come to rest, the old one goes on as before and the message says why. SIGUSR2 to the runner does the same with
    /// the program at its own path; the answer is in its log then.
    Upgrade(Upgrade),
    /// Whether it runs
    Status(User),
}

#[derive(clap::Args)]
pub struct Upgrade {
    /// Go on as this program; the octo-runner beside this octo when it is not said
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    #[command(flatten)]
    pub user: User,
}

#[derive(clap::Args)]
pub struct User {
    /// The octo user whose runner is meant
    #[arg(long, default_value = "admin")]
    pub user: String,
}
