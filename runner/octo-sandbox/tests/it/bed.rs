//! What the tests share: a home, a workspace, a launcher, and looks into `/proc`.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use octo_sandbox::{Exit, LaunchSpec, Launcher, Sandboxed};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

pub const BINARY: &str = env!("CARGO_BIN_EXE_octo-sandbox");
/// Only so that a broken promise fails instead of hanging.
const FOR_EVER: Duration = Duration::from_secs(120);

pub struct Bed {
    pub root: TempDir,
    pub home: PathBuf,
    pub workspace: PathBuf,
}

pub struct Output {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
}

impl Bed {
    pub fn new() -> Self {
        Self::at(TempDir::new().unwrap())
    }

    /// Outside `/tmp`, which is private inside: its files are visible unless something hides them.
    pub fn visible() -> Self {
        Self::at(TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    fn at(root: TempDir) -> Self {
        let root_path = root.path().canonicalize().unwrap();
        let home = root_path.join("home");
        let workspace = home.join("work");
        std::fs::create_dir_all(&workspace).unwrap();
        Self { root, home, workspace }
    }

    pub fn outside(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    /// `sh -c script` in the workspace.
    pub fn sh(&self, script: &str) -> LaunchSpec {
        let mut spec = LaunchSpec::new("/bin/sh", &self.workspace, &self.home);
        spec.args = vec!["-c".to_owned(), script.to_owned()];
        spec.env.insert("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
        spec.env.insert("HOME".to_owned(), self.home.to_str().unwrap().to_owned());
        spec
    }
}

pub fn launcher() -> Launcher {
    Launcher::new(BINARY)
}

/// Runs to the end; the program must start.
pub async fn run(spec: LaunchSpec) -> Output {
    run_with(&launcher(), spec).await
}

pub async fn run_with(launcher: &Launcher, spec: LaunchSpec) -> Output {
    let mut sandboxed = launcher.spawn(spec).await.unwrap();
    sandboxed.started().await.unwrap();
    finish(sandboxed).await
}

pub async fn finish(mut sandboxed: Sandboxed) -> Output {
    let (mut out, mut err) = (sandboxed.stdout.take().unwrap(), sandboxed.stderr.take().unwrap());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let all = async { tokio::join!(out.read_to_end(&mut stdout), err.read_to_end(&mut stderr), sandboxed.wait()) };
    let (read, read_errors, exit) = in_time(all).await;
    read.unwrap();
    read_errors.unwrap();
    Output { exit, stdout: String::from_utf8(stdout).unwrap(), stderr: String::from_utf8_lossy(&stderr).into_owned() }
}

/// The next line of the program's output.
pub async fn line(sandboxed: &mut Sandboxed) -> String {
    let mut line = String::new();
    let reader = BufReader::with_capacity(1, sandboxed.stdout.as_mut().unwrap());
    in_time(async { { reader }.read_line(&mut line).await.unwrap() }).await;
    line.trim_end().to_owned()
}

pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(FOR_EVER, future).await.expect("nothing happened for two minutes")
}

/// A number of seconds to sleep for that no other process on the machine sleeps for.
pub fn marker() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("9{}.{:05}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Host ids of the living processes with `text` in their command line.
pub fn processes_with(text: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != std::process::id() as i32 && command_line(*pid).contains(text)).collect()
}

pub fn command_line(pid: i32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

pub fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Waits for something that another process is about to do.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(FOR_EVER, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
