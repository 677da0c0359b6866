//! What pi-bridge is started with. None of the arguments is a secret.

use clap::{Args, Parser};
use octo_protocol::permission::PermissionMode;
use octo_runner::options::Options;
use std::net::IpAddr;
use std::path::PathBuf;

/// The port that is published where nobody says another one.
pub const DEFAULT_PORT: u16 = 41824;
/// The user's name in the runner inside. There is one, whoever has the token.
pub const USER: &str = "bridge";

/// The arguments of `pi-bridge serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// The address to listen on. Whoever reaches another one than loopback needs the token, and what they send is not encrypted.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// The port; 0 takes a free one.
    #[arg(long, env = "PI_BRIDGE_PORT", default_value_t = DEFAULT_PORT)]
    pub port: u16,
    /// A file with the token that clients have to send. Without it the token is in the environment, PI_BRIDGE_TOKEN.
    #[arg(long)]
    pub token_file: Option<PathBuf>,
    /// The agent: pi, claude, or a name of your own, with --protocol and --command.
    #[arg(long, env = "PI_BRIDGE_HARNESS", default_value = "pi")]
    pub harness: String,
    /// What is spoken with an agent of another name: pi-rpc or claude-stream-json.
    #[arg(long, requires = "command")]
    pub protocol: Option<String>,
    /// The agent's program: a name, looked for in --agents-dir and in PATH, or an absolute path.
    #[arg(long)]
    pub command: Option<String>,
    /// One more argument for the agent; may be given several times. Visible to whoever is on the machine: no secrets.
    #[arg(long = "arg", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// The folder that the agent works in. The current one when absent.
    #[arg(long)]
    pub cwd: Option<PathBuf>,
    /// The provider of the agent's model.
    #[arg(long, env = "PI_PROVIDER", default_value = "anthropic")]
    pub provider: String,
    /// The agent's model.
    #[arg(long, env = "PI_MODEL", default_value = "claude-sonnet-4-20250514")]
    pub model: String,
    /// The dialect that the provider speaks: anthropic-messages, openai-completions or openai-responses.
    #[arg(long, default_value = "anthropic-messages")]
    pub api: String,
    /// What the model's context holds, in tokens.
    #[arg(long, default_value_t = 200_000)]
    pub context_window: u64,
    /// Most tokens of one answer of the model.
    #[arg(long, default_value_t = 8192)]
    pub max_tokens: u64,
    /// The URL of an octo-eavs that has the provider's key; its own key is in the environment, EAVS_VIRTUAL_KEY. Without it the agent uses its own providers.
    #[arg(long, env = "EAVS_URL")]
    pub eavs_url: Option<String>,
    /// A variable of this environment that the agent gets too, as ANTHROPIC_API_KEY; may be given several times.
    #[arg(long = "pass-env", value_name = "NAME")]
    pub pass_env: Vec<String>,
    /// Where the journal is kept. $XDG_DATA_HOME/pi-bridge when absent.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// The prefix of installed agents; OCTO_AGENTS_DIR, else that of an octo on this machine when absent.
    #[arg(long)]
    pub agents_dir: Option<PathBuf>,
    /// What becomes of a tool call of which nothing else is said: allow, ask or deny. When absent allow for pi, ask for Claude Code.
    #[arg(long)]
    pub permissions: Option<PermissionMode>,
    /// `TOOL=allow|ask|deny`: what becomes of the calls of one tool. May be given several times.
    #[arg(long = "permission-tool")]
    pub permission_tools: Vec<String>,
    /// A question that nobody answers for so many seconds is denied. Never when absent.
    #[arg(long)]
    pub permission_timeout_secs: Option<u64>,
    /// End the agent of a session that has been idle for so many seconds; the next input starts it again with its conversation. Never when absent.
    #[arg(long)]
    pub idle_after_secs: Option<u64>,
    /// The sandbox profile of the agent: minimal, development or strict.
    #[arg(long)]
    pub sandbox: Option<String>,
    /// Run the agent without isolation where there is none, as in most containers. Without this it does not start there.
    #[arg(long)]
    pub allow_unsandboxed: bool,
    /// Another bubblewrap than the one in PATH.
    #[arg(long)]
    pub bwrap: Option<PathBuf>,
}

/// Why these options do not go together.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("there is neither --data-dir nor a home to keep the journal in: say --data-dir DIR")]
    NoHome,
    #[error("the folder to work in is not known ({0}): say --cwd DIR")]
    NoFolder(std::io::Error),
    #[error("{} cannot be used: {source}", path.display())]
    Path { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Runner(String),
}

fn data_home() -> Option<PathBuf> {
    let of_env = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    of_env("XDG_DATA_HOME").or_else(|| of_env("HOME").map(|home| home.join(".local/share")))
}

#[derive(Parser)]
#[command(name = "octo-runner", no_binary_name = true)]
struct OfTheRunner {
    #[command(flatten)]
    options: Options,
}

impl Serve {
    /// Where everything of this bridge is kept.
    ///
    /// # Errors
    /// [`OptionsError::NoHome`].
    pub fn home(&self) -> Result<PathBuf, OptionsError> {
        if let Some(dir) = &self.data_dir {
            return std::path::absolute(dir).map_err(|source| OptionsError::Path { path: dir.clone(), source });
        }
        data_home().map(|data| data.join("pi-bridge")).ok_or(OptionsError::NoHome)
    }

    /// The folder that the agent works in.
    ///
    /// # Errors
    /// When it is not there.
    pub fn folder(&self) -> Result<PathBuf, OptionsError> {
        let path = match &self.cwd {
            Some(path) => path.clone(),
            None => std::env::current_dir().map_err(OptionsError::NoFolder)?,
        };
        path.canonicalize().map_err(|source| OptionsError::Path { path, source })
    }

    /// The options of the runner inside: what is not said here is what octo-runner's own are.
    ///
    /// # Errors
    /// A sentence of the runner's about a value that it does not take.
    pub fn of_the_runner(&self) -> Result<Options, OptionsError> {
        let home = self.home()?;
        let mut arguments: Vec<String> = ["--user", USER, "--runner-id", USER, "--foreground"].map(str::to_owned).into();
        let mut say = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        let at = |name: &str| home.join(name).display().to_string();
        for (name, place) in [("--socket", "run/none.sock"), ("--data-dir", "runner"), ("--state-dir", "state"), ("--config-dir", "config")]
        {
            say(name, at(place));
        }
        say("--eavs-dir", at("none"));
        let agents = self.agents_dir.clone().or_else(|| data_home().map(|data| data.join("octo/agents")));
        say("--agents-dir", agents.unwrap_or_else(|| home.join("agents")).display().to_string());
        if let Some(mode) = self.permissions {
            say("--permission-default", mode.as_str().to_owned());
        }
        for tool in &self.permission_tools {
            say("--permission-tool", tool.clone());
        }
        for (name, value) in [("--permission-timeout-secs", self.permission_timeout_secs), ("--idle-after-secs", self.idle_after_secs)] {
            if let Some(value) = value {
                say(name, value.to_string());
            }
        }
        if let Some(bwrap) = &self.bwrap {
            say("--bwrap", bwrap.display().to_string());
        }
        if self.allow_unsandboxed {
            arguments.push("--allow-unsandboxed".to_owned());
        }
        let parsed = OfTheRunner::try_parse_from(arguments).map_err(|error| OptionsError::Runner(error.to_string()))?;
        Ok(parsed.options)
    }
}
