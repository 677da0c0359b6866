//! What is launched for a session: program, arguments, environment and the world it sees.

use super::kinds::{AgentKind, Surroundings};
use crate::agents::{Finder, NotFound};
use crate::options::{EAVS_SOCKET, Options};
use octo_harness::{Harness, StartOptions, pi};
use octo_protocol::ThinkingLevel;
use octo_protocol::provision::Provision;
use octo_sandbox::{Bind, LaunchSpec, Profile, Relay};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where octo's extensions are shown in a sandbox.
const EXTENSIONS_INSIDE: &str = "/run/octo/ext";
/// Where the directory of octo-eavs's socket is shown in a sandbox.
const EAVS_INSIDE: &str = "/run/octo/llm";
/// Environment of the runner that agents get as it is.
const INHERITED: [&str; 5] = ["LANG", "LC_ALL", "LC_CTYPE", "TZ", "SHELL"];

/// Why a plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    NotFound(#[from] NotFound),
    #[error("the sandbox profile {0}")]
    Profile(String),
    #[error("{} cannot be prepared for the agent: {source}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error("the provision does not serialize: {0}")]
    Provision(#[from] serde_json::Error),
    #[error("the server does not say where this agent's bridge is: upgrade it, or write harness.NAME.url")]
    NoUrl,
    #[error("octo does not know the agent {0}; it knows: {names}", names = AgentKind::names())]
    UnknownHarness(String),
    #[error("the agent {harness} speaks {protocol}, which this runner does not: upgrade it with `octo runner upgrade`")]
    UnknownProtocol { harness: String, protocol: String },
}

/// Everything that a start of a session's agent depends on. A restart takes the newest.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose it is.
    pub session: String,
    pub harness: String,
    pub cwd: PathBuf,
    pub profile: Option<String>,
    pub provider: String,
    pub model: String,
    pub thinking: Option<ThinkingLevel>,
    /// The handle of the agent's conversation.
    pub resume: Option<String>,
    pub provision: Arc<Provision>,
}

/// The translator for the agent `harness`, with which `protocol` is spoken where that is known; `None` when octo does not know it.
#[must_use]
pub fn translator(harness: &str, protocol: Option<&str>, options: StartOptions) -> Option<Box<dyn Harness>> {
    let kind = protocol.map_or_else(|| AgentKind::named(harness), AgentKind::speaking);
    kind.map(|kind| kind.translator(options))
}

impl Plan {
    /// The translator for a process of this plan.
    ///
    /// # Errors
    /// When octo does not know the harness.
    pub fn harness(&self, options: &Options) -> Result<Box<dyn Harness>, PlanError> {
        let kind = self.kind()?;
        Ok(kind.translator(self.start_options(kind, options)))
    }

    fn kind(&self) -> Result<AgentKind, PlanError> {
        AgentKind::of(&self.harness, &self.provision)
    }

    fn start_options(&self, kind: AgentKind, options: &Options) -> StartOptions {
        StartOptions {
            provider: self.provider.clone(),
            model: self.model.clone(),
            // An empty handle is one that was taken back.
            resume: self.resume.clone().filter(|handle| !handle.is_empty()),
            session_dir: kind.sessions_dir(options, &data_home()).display().to_string(),
            extension: Some(format!("{EXTENSIONS_INSIDE}/{}", pi::launch::EXTENSION_FILE)),
            thinking: self.thinking,
            agent: self.harness.clone(),
            cwd: self.cwd.display().to_string(),
            ..StartOptions::default()
        }
    }

    /// Prepares the directories and describes the launch. Blocks on the disk.
    ///
    /// # Errors
    /// [`PlanError`], a sentence for the person who started the session.
    pub fn launch(&self, options: &Options, finder: &Finder, without_sandbox: bool) -> Result<LaunchSpec, PlanError> {
        let kind = self.kind()?;
        let found = finder.find(&kind.program(self.provision.harness_named(&self.harness), options)?)?;
        let extensions = write_extension(&options.data_dir)?;
        let sessions = kind.sessions_dir(options, &data_home());
        make_private(&sessions)?;
        let mut start = self.start_options(kind, options);
        if without_sandbox {
            start.extension = Some(extensions.join(pi::launch::EXTENSION_FILE).display().to_string());
        }
        let home = home();
        let mut spec = LaunchSpec::new(found.program.clone(), self.cwd.clone(), home.clone());
        spec.args = found.before.clone();
        let around = Surroundings { provision: &self.provision, home: &home, bare: without_sandbox, eavs: options.eavs_dir.is_dir() };
        let own = kind.launch(&start, sessions, &around)?;
        spec.args.extend(own.arguments);
        let harness = self.provision.harness_named(&self.harness);
        spec.args.extend(harness.into_iter().flat_map(|harness| harness.args.iter().cloned()));
        if let Some(profile) = self.profile.as_ref().or(harness.and_then(|harness| harness.sandbox.as_ref())) {
            spec.profile = profile.parse::<Profile>().map_err(PlanError::Profile)?;
        }
        let node = finder.node();
        self.environment(&mut spec, &[Some(found.program.as_path()), node.as_deref()], &home, options);
        spec.env.extend(own.environment);
        spec.binds = own.binds;
        spec.read_only = found.directories;
        // Whoever may write octo's own programs may become octo.
        spec.read_only.extend(std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned)));
        spec.read_write = own.writable;
        spec.limits = options.agent_limits();
        spec.masked = vec![options.config_dir.clone(), options.data_dir.clone(), options.state_dir.clone()];
        spec.masked.extend(run_dir(options));
        if let Some(octo_data) = options.data_dir.parent().and_then(Path::parent).filter(|p| p.ends_with("octo")) {
            spec.masked.push(octo_data.to_owned());
        }
        // Inside of a mask there is nothing left to mask.
        let masked = spec.masked.clone();
        spec.masked.retain(|path| !masked.iter().any(|outer| outer != path && path.starts_with(outer)));
        spec.binds.push(Bind::read_only(extensions, EXTENSIONS_INSIDE));
        // A mask lies over what is inside of it: the agents prefix may be in octo's own data.
        let prefix = finder.prefix().canonicalize().unwrap_or_else(|_| finder.prefix().to_owned());
        if prefix.is_dir() && spec.masked.iter().any(|m| prefix.starts_with(m)) {
            spec.binds.push(Bind::read_only(prefix.clone(), prefix));
        }
        if options.eavs_dir.is_dir() {
            // Connecting needs no writing, and who may write here may put a socket of its own in place of the one that all sessions use.
            spec.binds.push(Bind::read_only(options.eavs_dir.clone(), EAVS_INSIDE));
            let inside = if without_sandbox { options.eavs_dir.clone() } else { PathBuf::from(EAVS_INSIDE) };
            spec.relay = Some(Relay { socket: inside.join(EAVS_SOCKET) });
        }
        Ok(spec)
    }

    fn environment(&self, spec: &mut LaunchSpec, programs: &[Option<&Path>], home: &Path, options: &Options) {
        let env = &mut spec.env;
        if let Some(harness) = self.provision.harness_named(&self.harness) {
            env.extend(harness.env.clone());
        }
        env.extend(self.provision.env.clone());
        for name in INHERITED {
            if let Ok(value) = std::env::var(name) {
                env.entry(name.to_owned()).or_insert(value);
            }
        }
        env.entry("LANG".to_owned()).or_insert_with(|| "C.UTF-8".to_owned());
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        set("TERM", "dumb".to_owned());
        set("HOME", home.display().to_string());
        set("USER", user_name().unwrap_or_else(|| options.user.clone()));
        let mut first: Vec<String> = Vec::new();
        for directory in programs.iter().flatten().filter_map(|program| program.parent()) {
            let directory = format!("{}:", directory.display());
            if !first.contains(&directory) {
                first.push(directory);
            }
        }
        let (first, home) = (first.concat(), home.display());
        set("PATH", format!("{first}{home}/.local/bin:{home}/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    }
}

/// Where the user's programs keep their data.
fn data_home() -> PathBuf {
    let named = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    named.unwrap_or_else(|| home().join(".local/share"))
}

/// octo's run directory: `<run>/runners/<user>.sock` is the socket.
fn run_dir(options: &Options) -> Option<PathBuf> {
    let own = options.socket.parent()?;
    if own.ends_with("runners") { own.parent().map(Path::to_owned) } else { Some(own.to_owned()) }
}

fn home() -> PathBuf {
    let of_env = std::env::var_os("HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    of_env
        .or_else(|| nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|u| u.dir))
        .unwrap_or_else(|| PathBuf::from("/"))
}

fn user_name() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|u| u.name)
}

fn write_extension(data_dir: &Path) -> Result<PathBuf, PlanError> {
    let directory = data_dir.join("ext");
    make_private(&directory)?;
    let path = directory.join(pi::launch::EXTENSION_FILE);
    if std::fs::read_to_string(&path).is_ok_and(|text| text == pi::launch::EXTENSION) {
        return Ok(directory);
    }
    let failed = |source| PlanError::Prepare { path: path.clone(), source };
    // Renamed into place, so that an agent that starts meanwhile reads the old one or the new one.
    let fresh = directory.join(format!(".{}.new", pi::launch::EXTENSION_FILE));
    std::fs::write(&fresh, pi::launch::EXTENSION).map_err(failed)?;
    std::fs::set_permissions(&fresh, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(failed)?;
    std::fs::rename(&fresh, &path).map_err(failed)?;
    Ok(directory)
}

fn make_private(path: &Path) -> Result<(), PlanError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| PlanError::Prepare { path: path.to_owned(), source })
}
