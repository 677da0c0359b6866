//! What processes cost, from `/proc`.

use anyhow::{Context, Result};
use std::io::BufRead;
use std::process::{Child, ChildStdin, Command, Stdio};

/// CPU time of a process so far, user and system, in microseconds. Its resolution is a clock tick of 10 ms.
pub fn cpu_us(pid: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
    #[allow(clippy::cast_precision_loss, reason = "a hundred")]
    Ok((ticks(11) + ticks(12)) * 1e6 / per_second as f64)
}

/// CPU time of several processes together, in microseconds.
pub fn cpu_of(pids: &[i32]) -> Result<f64> {
    pids.iter().map(|pid| cpu_us(*pid)).sum()
}

/// Resident memory in KiB: all of it, and the part that is no file's.
pub fn rss_kib(pid: i32) -> Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>().ok()).unwrap_or_default()
    };
    Ok((field("VmRSS:"), field("RssAnon:")))
}

/// A floor in a process of its own: this program again, as `octo-bench floor KIND …`.
pub struct FloorProcess {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub port: u16,
}

impl FloorProcess {
    /// Starts it and waits for its port. `input`: what it reads; a pipe from here when there is none.
    pub fn start(arguments: &[&str], input: Option<Stdio>) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("floor")
            .args(arguments)
            .stdin(input.unwrap_or_else(Stdio::piped))
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a floor")?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            std::io::BufReader::new(stdout).read_line(&mut line)?;
        }
        let port = line.trim().parse().with_context(|| format!("the floor {arguments:?} said {line:?} in place of its port"))?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, port })
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for FloorProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
