//! Vital signs of a process, from `/proc`.

use octo_protocol::event::ProcessInfo;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How far up the parents of a process are followed.
const MAX_DEPTH: usize = 64;

/// Watches one process; the share of the CPU is that since the look before.
#[derive(Debug)]
pub struct Vitals {
    pid: u32,
    began: Instant,
    before: Option<(Instant, u64)>,
}

impl Vitals {
    /// Watches `pid`, which has just been started.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self::since(pid, Duration::ZERO)
    }

    /// Watches `pid`, which has been running for so long.
    #[must_use]
    pub fn since(pid: u32, uptime: Duration) -> Self {
        let now = Instant::now();
        Self { pid, began: now.checked_sub(uptime).unwrap_or(now), before: None }
    }

    /// For how long it has been running, in seconds.
    #[must_use]
    pub fn uptime_s(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// How it is now.
    pub fn look(&mut self) -> ProcessInfo {
        let Some(stat) = Stat::read(self.pid) else { return ProcessInfo::default() };
        let now = Instant::now();
        let cpu_pct = self.before.and_then(|(then, ticks)| {
            let seconds = now.duration_since(then).as_secs_f32();
            #[allow(clippy::cast_precision_loss)]
            let used = stat.ticks.saturating_sub(ticks) as f32 / ticks_per_second();
            (seconds > 0.0).then(|| (used / seconds * 1000.0).round() / 10.0)
        });
        self.before = Some((now, stat.ticks));
        ProcessInfo { alive: true, pid: Some(self.pid), rss_bytes: Some(stat.rss_bytes), cpu_pct, uptime_s: Some(self.uptime_s()) }
    }
}

/// Processes that run beside the agent `pid` in its sandbox: tools that were left running, servers that it started. They hang below the agent, or below
/// its sandbox's init when whoever started them has ended.
#[must_use]
pub fn companions(pid: u32) -> usize {
    let own = std::process::id();
    let mut parents = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    for entry in entries.filter_map(Result::ok) {
        let Some(of) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(parent) = Stat::read(of).map(|stat| stat.parent) {
            parents.insert(of, parent);
        }
    }
    // Without an init between them, only what is below the agent is known to be its own.
    let root = parents.get(&pid).copied().filter(|parent| *parent != own && *parent > 1).unwrap_or(pid);
    let below = |mut process: u32| {
        for _ in 0..MAX_DEPTH {
            match parents.get(&process) {
                Some(parent) if *parent == root || *parent == pid => return true,
                Some(parent) => process = *parent,
                None => return false,
            }
        }
        false
    };
    parents.keys().filter(|process| **process != pid && **process != root && below(**process)).count()
}

struct Stat {
    parent: u32,
    ticks: u64,
    rss_bytes: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok());
        if fields.first() == Some(&"Z") {
            return None;
        }
        let pages = number(21)?;
        let parent = u32::try_from(number(1)?).ok()?;
        Some(Self { parent, ticks: number(11)? + number(12)?, rss_bytes: pages.saturating_mul(page_size()) })
    }
}

fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().and_then(|v| u64::try_from(v).ok()).unwrap_or(4096)
}

fn ticks_per_second() -> f32 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    #[allow(clippy::cast_precision_loss)]
    {
        ticks as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_has_memory_and_a_dead_one_is_not_alive() {
        let info = Vitals::new(std::process::id()).look();
        assert!(info.alive && info.rss_bytes.is_some_and(|b| b > 100_000), "{info:?}");
        assert!(!Vitals::new(u32::MAX).look().alive);
    }
}
