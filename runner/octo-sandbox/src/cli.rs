//! The binary `octo-sandbox`: the inner stages by their fixed names, and a command in a sandbox for people.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, IsTerminal, Write},
    os::{fd::RawFd, unix::process::CommandExt},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;

use crate::{
    Exit, LaunchError, LaunchSpec, Launcher, Network, Profile, Signal, Stdio, inside,
    inside::FAILED,
    message::{Plan, TerminalMode},
};

/// Run a command in octo's sandbox.
///
/// The machine is read-only, /tmp and /run are private, other homes, keys and credentials are hidden; the
/// workspace is writable. The exit code is the command's (128 + n when signal n ended it, 125 when it did not start).
#[derive(Debug, Parser)]
#[command(name = "octo-sandbox", version)]
struct Options {
    /// How much of the home may be written: minimal, development or strict
    #[arg(long, default_value_t, value_name = "NAME")]
    profile: Profile,
    /// Directory that may be written; the current one by default
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Cut the command off from the network
    #[arg(long)]
    no_network: bool,
    /// Further path that is shown empty (repeatable)
    #[arg(long, value_name = "PATH")]
    mask: Vec<PathBuf>,
    /// Print the sandbox's arguments instead of running anything
    #[arg(long)]
    dry_run: bool,
    /// Run the command without any isolation
    #[arg(long)]
    no_sandbox: bool,
    /// Say on standard error what isolates the command
    #[arg(short, long)]
    verbose: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// The whole program. `run` and `init` are what the launcher and bubblewrap start; everything else is for people.
pub fn program() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let code = match arguments.next() {
        Some(stage) if stage == "run" && arguments.len() == 0 => inside::run(),
        Some(stage) if stage == "init" => match init_handover(arguments) {
            Some(handover) => inside::init(&handover),
            None => {
                eprintln!("octo-sandbox init is started by octo-sandbox run only");
                FAILED
            }
        },
        _ => Options::parse().execute(),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn init_handover(arguments: impl Iterator<Item = OsString>) -> Option<inside::Handover> {
    let texts: Vec<String> = arguments.map(OsString::into_string).collect::<Result<_, _>>().ok()?;
    let [plan_name, plan, line_name, line, stdio_name, stdio, workspace_name, workspace] = <[String; 8]>::try_from(texts).ok()?;
    if [plan_name.as_str(), &line_name, &stdio_name, &workspace_name] != ["--spec-fd", "--life-fd", "--stdio-fds", "--workspace"] {
        return None;
    }
    let stdio: Vec<RawFd> = stdio.split(',').map(descriptor_number).collect::<Option<_>>()?;
    let stdio = <[RawFd; 3]>::try_from(stdio).ok()?;
    Some(inside::Handover { plan: descriptor_number(&plan)?, line: descriptor_number(&line)?, stdio, workspace })
}

/// Standard descriptors are never handed on under their own numbers.
fn descriptor_number(text: &str) -> Option<RawFd> {
    text.parse().ok().filter(|number| *number > 2)
}

impl Options {
    fn execute(self) -> i32 {
        match self.try_execute() {
            Ok(code) => code,
            Err(sentence) => {
                eprintln!("octo-sandbox: {sentence}");
                FAILED
            }
        }
    }

    fn try_execute(mut self) -> Result<i32, String> {
        if self.no_sandbox {
            return Err(self.replace_myself());
        }
        // With the very file of this process, so that nothing needs to be installed beside it.
        let own = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
        let launcher = Launcher::new(own);
        let info = launcher.check().map_err(|error| error.to_string())?;
        if self.verbose {
            eprintln!("octo-sandbox: {}, profile {}", info.summary, self.profile);
        }
        let dry_run = std::mem::take(&mut self.dry_run);
        let spec = self.into_spec()?;
        if dry_run {
            return show(spec, &launcher);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("the runtime could not be started: {error}"))?;
        runtime.block_on(attend(launcher, spec)).map_err(|error| error.to_string())
    }

    fn into_spec(self) -> Result<LaunchSpec, String> {
        let current = std::env::current_dir().map_err(|error| format!("the current directory is gone: {error}"))?;
        let workspace = match self.workspace {
            Some(workspace) => workspace.canonicalize().map_err(|error| format!("{}: {error}", workspace.display()))?,
            None => current.clone(),
        };
        let home = std::env::home_dir().ok_or("HOME is not set; set it to your home directory")?;
        let mut command = self.command.into_iter();
        let program = command.next().ok_or("there is no command")?;
        let mut spec = LaunchSpec::new(program, &workspace, home);
        spec.args = command.collect();
        spec.env = environment()?;
        spec.cwd = if current.starts_with(&workspace) { current } else { workspace };
        spec.profile = self.profile;
        spec.network = if self.no_network { Network::None } else { Network::Open };
        spec.masked = octo_directories(&spec.home);
        spec.masked.extend(self.mask.iter().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())));
        spec.stdio = Stdio::Inherit;
        Ok(spec)
    }

    /// Returns only with the reason why it did not work.
    fn replace_myself(&self) -> String {
        if self.verbose {
            eprintln!("octo-sandbox: no isolation, as asked for");
        }
        let mut command = self.command.iter();
        let Some(program) = command.next() else {
            return "there is no command".to_owned();
        };
        let mut replacement = std::process::Command::new(program);
        replacement.args(command);
        if let Some(workspace) = &self.workspace {
            replacement.current_dir(workspace);
        }
        format!("{program} could not be started: {}", replacement.exec())
    }
}

/// octo's own configuration, data and state, as far as there are any.
fn octo_directories(home: &std::path::Path) -> Vec<PathBuf> {
    let places = [("XDG_CONFIG_HOME", ".config"), ("XDG_DATA_HOME", ".local/share"), ("XDG_STATE_HOME", ".local/state")];
    let base = |name, fallback| std::env::var_os(name).map_or_else(|| home.join(fallback), PathBuf::from);
    places.map(|(name, fallback)| base(name, fallback).join("octo")).into_iter().filter(|path| path.exists()).collect()
}

fn environment() -> Result<BTreeMap<String, String>, String> {
    let text = |value: OsString| value.into_string().map_err(|value| format!("{} is not UTF-8", value.display()));
    std::env::vars_os().map(|(name, value)| Ok((text(name)?, text(value)?))).collect()
}

/// Prints what would hold the command, one argument a line.
fn show(spec: LaunchSpec, launcher: &Launcher) -> Result<i32, String> {
    let isolation = launcher.check().map_err(|error| error.to_string())?.isolation;
    let plan = Plan::new(spec, TerminalMode::Shared, isolation.to_plan());
    let own = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    let lines = describe_isolation(&plan, &own)?;
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}").map_err(|error| error.to_string())?;
    }
    Ok(0)
}

#[cfg(target_os = "linux")]
fn describe_isolation(plan: &Plan, own: &std::path::Path) -> Result<Vec<String>, String> {
    let (arguments, _) = inside::bubblewrap_arguments(plan, own)?;
    let mut lines = vec!["bwrap".to_owned()];
    for argument in arguments {
        let text = argument.to_string_lossy().into_owned();
        match lines.last_mut() {
            // A flag begins a line, its values follow on the same one.
            Some(line) if !text.starts_with("--") => {
                line.push(' ');
                line.push_str(&text);
            }
            _ => lines.push(format!("  {text}")),
        }
    }
    lines.push(format!("  -- {} {}", plan.program.display(), plan.args.join(" ")).trim_end().to_owned());
    Ok(lines)
}

#[cfg(not(target_os = "linux"))]
fn describe_isolation(plan: &Plan, own: &std::path::Path) -> Result<Vec<String>, String> {
    Ok(crate::seatbelt::profile(plan, own)?.lines().map(str::to_owned).collect())
}

/// Runs the command and waits, passing on requests to end. What is typed reaches the command by itself.
async fn attend(launcher: Launcher, spec: LaunchSpec) -> Result<i32, LaunchError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| LaunchError::io("watching for signals", error));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    // Asked for so that this process outlives the command and can give the terminal back.
    let _quit = listen(SignalKind::quit())?;
    let _terminal_output = listen(SignalKind::from_raw(libc::SIGTTOU))?;
    let mut sandboxed = launcher.spawn(spec).await?;
    sandboxed.started().await?;
    let controller = sandboxed.controller();
    let exit = loop {
        tokio::select! {
            exit = sandboxed.wait() => break exit,
            _ = terminate.recv() => { controller.signal(Signal::Terminate); }
            _ = hangup.recv() => { controller.signal(Signal::Hangup); }
            // With a terminal the command is in the foreground and has got it already.
            _ = interrupt.recv() => if !io::stdin().is_terminal() { controller.signal(Signal::Interrupt); }
        }
    };
    take_terminal_back();
    Ok(match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
        Exit::TreeKilled => inside::ENDED,
        Exit::Exceeded(excess) => {
            eprintln!("octo-sandbox: the command {excess}");
            inside::ENDED
        }
        Exit::NotStarted { .. } => FAILED,
    })
}

fn take_terminal_back() {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        // It may be gone, or never have been ours; there is nobody to tell.
        let _ = nix::unistd::tcsetpgrp(&stdin, nix::unistd::getpgrp());
    }
}
