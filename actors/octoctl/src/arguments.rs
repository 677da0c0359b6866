//! The arguments. Every command has an example in its help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// octoctl: looks inside a running octo.
///
/// It reaches octo on this machine through octo's admin socket, where the kernel says who asks: octo's own user, root, and whoever is in the group of
/// server.admin_group. With --server it goes over HTTP, with the token of an admin in OCTO_AUTH_TOKEN. The answers are the same.
#[derive(Parser)]
#[command(
    name = "octoctl",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_long_help = "\
Exit codes:
  0   done
  1   it failed, and the message says why
  2   wrong arguments
  3   there is no such actor, session, user or log
  4   there was such an actor, and it has ended
  5   it is there, and this cannot be done to it (a restart of the root)
  6   a check found something wrong (doctor, journal verify)
  69  octo does not answer
  75  a runner is out of reach, or there is too much to do: try again
  77  you may not

Examples:
  octoctl status                                    how octo stands, and what is wrong
  octoctl actor tree /users/admin                   everything alive of one user, runner included
  octoctl actor inspect /users/admin/runner         one actor's own view of itself, also when it is stuck
  octoctl session list --json | jq '.sessions[].session_id'
  octoctl --server https://octo.example.com status  over HTTP; the token is in OCTO_AUTH_TOKEN"
)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,
    /// Write JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Where octo is.
#[derive(Args, Clone, Default)]
pub struct Place {
    /// Go over HTTP to this address instead of the admin socket; OCTO_AUTH_TOKEN holds the token of an admin
    #[arg(long, short, global = true, value_name = "URL", env = "OCTO_SERVER_URL")]
    pub server: Option<String>,
    /// The admin socket, when octo did not leave a note where it is
    #[arg(long, global = true, value_name = "PATH", env = "OCTO_ADMIN_SOCKET")]
    pub socket: Option<PathBuf>,
    /// octo's state directory, when it is not $XDG_STATE_HOME/octo
    #[arg(long, global = true, value_name = "DIR", env = "OCTO__PATHS__STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Command {
    /// How octo stands: versions, counts, what is wrong
    #[command(after_help = "Example:\n  octoctl status --json | jq .trouble")]
    Status,
    /// Actors: everything alive in octo and in its runners
    Actor {
        #[command(subcommand)]
        command: Actor,
    },
    /// Sessions of all users
    Session {
        #[command(subcommand)]
        command: Session,
    },
    /// Accounts, and whether their actors run
    User {
        #[command(subcommand)]
        command: User,
    },
    /// What users have octo remember of their agents' tool calls
    Permission {
        #[command(subcommand)]
        command: Permission,
    },
    /// The daemons that own users' agents
    Runner {
        #[command(subcommand)]
        command: Runner,
    },
    /// Events of a session
    Events {
        #[command(subcommand)]
        command: Events,
    },
    /// Users' journals
    Journal {
        #[command(subcommand)]
        command: Journal,
    },
    /// What octo owns on disk: accounts, keys, settings
    Store {
        #[command(subcommand)]
        command: Store,
    },
    /// Logs of octo's own processes: which there are, or the end of one
    #[command(after_help = "Examples:\n  octoctl logs\n  octoctl logs octo-runner-admin -n 50\n  octoctl logs octo-eavs --follow")]
    Logs(Logs),
    /// Every part of octo with its version: how it stands, what to do
    #[command(
        after_help = "Ends with 6 when something is wrong. With --bundle it ends with 0 when the bundle is written, and with 69 when octo is down and the bundle has what there is without it.\n\nExamples:\n  octoctl doctor || mail -s 'octo is unwell' ops < /dev/null\n  octoctl doctor --bundle octo-bundle.tar.gz"
    )]
    Doctor {
        /// Write what somebody needs to help into this new file (.tar.gz): versions, configuration, actors, metrics, logs; no secrets, and nothing of
        /// anybody's work
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
    },
    /// What octo, its runners and octo-eavs have counted, in the text format of Prometheus; with --json one sample a line
    #[command(
        after_help = "Examples:\n  octoctl metrics\n  octoctl metrics --only octo_limit_hits_total\n  octoctl metrics --json | jq 'select(.name == \"octo_runner_up\")'"
    )]
    Metrics {
        /// Only metrics whose name begins so
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Completions for a shell, on standard output
    #[command(after_help = "Example:\n  octoctl completions bash > ~/.local/share/bash-completion/completions/octoctl")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Man pages: this command's on standard output, or all of them into a directory
    #[command(after_help = "Examples:\n  octoctl man | man -l -\n  octoctl man --dir ~/.local/share/man/man1")]
    Man {
        /// Write a page for every command into this directory
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// A part of the tree.
#[derive(Args)]
pub struct Below {
    /// Path of an actor; it and all below it
    #[arg(default_value = "/", value_name = "PATH")]
    pub path: String,
}

#[derive(Subcommand)]
pub enum Actor {
    /// Who is below whom, with state, mailbox and last error
    #[command(after_help = "Examples:\n  octoctl actor tree\n  octoctl actor tree /users/admin/runner")]
    Tree(Below),
    /// One actor a line
    #[command(after_help = "Example:\n  octoctl actor list --json | jq '.rows[] | select(.state != \"running\")'")]
    List(Below),
    /// An actor's row, and what it said of itself last; a stuck one is shown as well
    #[command(after_help = "Example:\n  octoctl actor inspect /users/admin/runner/history")]
    Inspect {
        /// Path of the actor
        path: String,
    },
    /// Restart an actor; that does not count toward its intensity, and brings a degraded one back
    #[command(after_help = "Example:\n  octoctl actor restart /users/admin/runner/sessions/ses_1/agent")]
    Restart {
        /// Path of the actor
        path: String,
    },
    /// Messages as they are handled: time in the mailbox, time in the handler, how it ended
    ///
    /// What is not read in time is lost rather than hold an actor up; how much is said.
    #[command(after_help = "Examples:\n  octoctl actor trace /users/admin\n  octoctl actor trace --seconds 10 --json > trace.jsonl")]
    Trace(Trace),
    /// Actors by what they do, as it changes
    #[command(
        after_help = "Keys: q ends, s sorts by something else, arrows move, Space holds.\n\nExamples:\n  octoctl actor top\n  octoctl actor top --once --sort mailbox"
    )]
    Top(Top),
}

#[derive(Args)]
pub struct Trace {
    #[command(flatten)]
    pub below: Below,
    /// End after so many messages
    #[arg(long, short = 'n', value_name = "N")]
    pub limit: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "S")]
    pub seconds: Option<u64>,
}

#[derive(Args)]
pub struct Top {
    #[command(flatten)]
    pub below: Below,
    /// Print one look and end, for scripts
    #[arg(long)]
    pub once: bool,
    /// Seconds between two looks
    #[arg(long, default_value_t = 1, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=60))]
    pub interval: u64,
    /// What stands first
    #[arg(long, value_enum, default_value_t = Sort::Rate)]
    pub sort: Sort,
    /// Rows of one look
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub rows: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Sort {
    /// Messages a second
    Rate,
    /// Messages that wait
    Mailbox,
    /// Restarts
    Restarts,
    /// Time inside the present message
    Busy,
    /// Path
    Path,
}

#[derive(Subcommand)]
pub enum Session {
    /// Sessions, those used last first
    #[command(after_help = "Examples:\n  octoctl session list\n  octoctl session list --user admin")]
    List {
        /// Only this user's
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// One session: its row, and its state as its clients see it
    #[command(alias = "get", after_help = "Example:\n  octoctl session show admin/ses_1")]
    Show(SessionName),
    /// End its agent; the history stays, and the next prompt starts it again
    #[command(after_help = "Example:\n  octoctl session stop admin/ses_1")]
    Stop(SessionName),
    /// End its agent and start it again, with its conversation
    #[command(after_help = "Example:\n  octoctl session restart admin/ses_1")]
    Restart(SessionName),
    /// Delete it: its agent ends, its history and its key go
    #[command(after_help = "Example:\n  octoctl session delete admin/ses_1 --yes")]
    Delete {
        #[command(flatten)]
        name: SessionName,
        /// It cannot be undone, and that is wanted
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct SessionName {
    /// USER/ID, or the id alone when only one user has such a session
    #[arg(value_name = "SESSION")]
    pub session: String,
}

#[derive(Subcommand)]
pub enum User {
    /// Accounts
    #[command(after_help = "Example:\n  octoctl user list")]
    List,
    /// One account
    #[command(after_help = "Example:\n  octoctl user show admin")]
    Show {
        /// The user's id
        user: String,
    },
    /// End a user's actors in octo; the runner and its agents go on, and the next use wakes the user again
    #[command(after_help = "Example:\n  octoctl user sleep admin --force")]
    Sleep {
        /// The user's id
        user: String,
        /// Also when somebody is connected
        #[arg(long)]
        force: bool,
    },
}

#[derive(Subcommand)]
pub enum Permission {
    /// What decides about a user's agents: the configuration as the runner has it, and the remembered rules
    #[command(after_help = "Example:\n  octoctl permission list admin")]
    List {
        /// The user's id
        user: String,
    },
    /// Forget a rule
    #[command(after_help = "Example:\n  octoctl permission remove admin rule_0199b3c4d5e67f80a1b2c3d4e5f60718")]
    Remove {
        /// The user's id
        user: String,
        /// The rule's id
        rule: String,
    },
}

#[derive(Subcommand)]
pub enum Runner {
    /// The runner of every user
    #[command(after_help = "Example:\n  octoctl runner list")]
    List,
    /// End a user's runner, with its agents, and start it again; sessions resume with their next prompt
    #[command(after_help = "Example:\n  octoctl runner restart admin")]
    Restart {
        /// The user's id
        user: String,
    },
    /// Replace a runner's program in place; its agents go on
    #[command(after_help = "Examples:\n  octoctl runner upgrade admin\n  octoctl runner upgrade admin --binary /opt/octo/octo-runner")]
    Upgrade {
        /// The user's id
        user: String,
        /// Go on as this program, an absolute path where octo runs; the octo-runner beside octo when it is not said
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub enum Events {
    /// Events as they come, one a line; from a number on, everything that is kept since then first
    #[command(
        after_help = "Examples:\n  octoctl events tail admin/ses_1\n  octoctl events tail admin/ses_1 --from 1 --once --json > session.jsonl"
    )]
    Tail {
        #[command(flatten)]
        name: SessionName,
        /// Number of the first event; 1 is the session's first
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
        /// End with the newest event instead of waiting for more
        #[arg(long)]
        once: bool,
    },
    /// Each event as it comes, with the time it took from hop to hop: agent, runner, journal, link, octo, sockets
    #[command(
        after_help = "A hop's time is that since the hop before it; TAKEN and WRITTEN are those of the slowest of SOCKETS. It is bounded and loses rather than slows: what was lost is said.\n\nExamples:\n  octoctl events path admin/ses_1\n  octoctl events path admin/ses_1 -n 20 --json"
    )]
    Path {
        #[command(flatten)]
        name: SessionName,
        /// End after so many events
        #[arg(short = 'n', long, value_name = "N")]
        limit: Option<u64>,
        /// End after so many seconds
        #[arg(long, value_name = "S")]
        seconds: Option<u64>,
    },
}

#[derive(Subcommand)]
pub enum Journal {
    /// Read a user's whole journal and check every row, every session and the file
    #[command(after_help = "Ends with 6 when something is not as it was written.\n\nExample:\n  octoctl journal verify admin")]
    Verify {
        /// The user's id
        #[arg(default_value = "admin")]
        user: String,
    },
}

#[derive(Subcommand)]
pub enum Store {
    /// Write the whole store into a new file that only you can read; it holds secrets
    #[command(after_help = "Example:\n  octoctl store export octo-store.jsonl")]
    Export {
        /// The file; it must not exist. - is standard output
        file: PathBuf,
    },
    /// Put an exported store in the place of the one there is: all of it, or nothing
    #[command(after_help = "Example:\n  octoctl store export before.jsonl && octoctl store import octo-store.jsonl --yes")]
    Import {
        /// The file; - is standard input
        file: PathBuf,
        /// What is there now is lost, and that is wanted
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct Logs {
    /// Which log; all are listed when it is not said
    pub name: Option<String>,
    /// The newest so many lines
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    pub lines: usize,
    /// Go on with what comes
    #[arg(long, short, requires = "name")]
    pub follow: bool,
}
