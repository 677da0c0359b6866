//! Processes as `/proc` shows them, each identified by pid and start time: a pid alone is used again.

use std::collections::HashMap;

/// One process. Two of them are equal when they are the same process, whatever it does just now.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// Clock ticks since boot.
    pub started: u64,
    /// Name of the executable, 15 characters at most.
    pub name: String,
    pub state: char,
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }
}

impl Process {
    /// The process of `pid` right now.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let mut fields = tail.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Self { pid, parent, started, name, state })
    }

    /// Memory of its own, in KiB: what it holds besides the files it has mapped.
    #[must_use]
    pub fn own_memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok())
    }

    /// It still runs (a zombie does not).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.started == self.started && now.state != 'Z')
    }

    /// Its command line, arguments separated by spaces.
    #[must_use]
    pub fn command_line(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default()).replace('\0', " ")
    }

    /// Its environment, entries separated by newlines.
    #[must_use]
    pub fn environment(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default()).replace('\0', "\n")
    }

    /// The most memory it ever had resident, in bytes; 0 when it is gone.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:").map_or(0, |kib| kib * 1024)
    }

    /// The memory it has resident now, in bytes; 0 when it is gone.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:").map_or(0, |kib| kib * 1024)
    }

    /// Bytes that it has written so far, to files and pipes; 0 when it is gone.
    #[must_use]
    pub fn written(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid)).unwrap_or_default();
        io.lines().find_map(|line| line.strip_prefix("wchar: ")).and_then(|n| n.parse().ok()).unwrap_or_default()
    }

    /// Waits until it writes nothing for a while: it has no more to say, or nobody takes it.
    pub async fn quiet(&self) {
        let (mut before, mut same) = (0, 0);
        crate::until("a process writes nothing any more", || {
            let now = self.written();
            same = if now == before { same + 1 } else { 0 };
            before = now;
            (same > 20).then_some(())
        })
        .await;
    }

    fn status(&self, key: &str) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key))?.trim().trim_end_matches(" kB").parse().ok()
    }

    /// Sends a signal, if it is still the same process.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        if self.is_alive() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), signal);
        }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.signal(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Every process of the machine.
#[must_use]
pub fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter_map(Process::of).collect()
}

/// Everything that `root` started and that still has it as an ancestor, without `root` itself.
#[must_use]
pub fn descendants(root: i32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in processes() {
        children.entry(process.parent).or_default().push(process);
    }
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            open.push(child.pid);
            found.push(child);
        }
    }
    found
}
