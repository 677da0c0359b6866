//! What the tree uses: memory and tasks, counted over all of it, so that no forking gets around a limit.
//!
//! Looking costs something, so it is done as rarely as is safe. How many tasks there can be at most follows from how many were started since they were
//! last counted, which the kernel tells in one line; memory is looked at the sooner the less is left of it. Most of a process's pages may be another
//! one's too: what is resident is added up first, and only when that is too much are shared pages divided among those who share them.
//!
//! Not seen: memory files that nobody has mapped, and what the kernel holds for the tree (sockets, page tables).

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    time::{Duration, Instant},
};

use super::reaper;
use crate::spec::{Excess, Limits, Resource};

/// Between two looks while something is started, and while nothing is.
const BUSY: Duration = Duration::from_millis(50);
const CALM: Duration = Duration::from_millis(250);
/// Between two looks at the memory, however little is left.
const MEMORY: Duration = Duration::from_millis(250);
/// The longest time between two looks at the memory.
const MEMORY_AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// Memory that a tree may fill in a second: two cores that write zeros.
const FILLED_PER_SECOND: u64 = 2 * 1024 * 1024 * 1024;
/// A tree that uses so much of what it may, in percent, is told of.
const NEAR_PERCENT: u64 = 80;
/// Told again after this long: whoever listens may have been replaced.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// File systems in memory that belong to a sandbox alone.
const PRIVATE: [&str; 4] = ["/tmp", "/run", "/dev", "/dev/shm"];

/// Counts a tree now and then.
#[derive(Debug)]
pub(super) struct Usage {
    memory: Option<u64>,
    tasks: Option<u64>,
    /// Whether `/proc` shows this tree and nothing else.
    namespace: bool,
    loadavg: Option<File>,
    /// The newest task's number when tasks were last counted, and how many there were.
    counted: (u64, u64),
    newest: u64,
    due: Instant,
    memory_due: Instant,
    page: u64,
    /// Tasks and memory that were counted last, where it is nearly too much.
    near: [Option<Excess>; 2],
    told: Option<(Option<Excess>, Instant)>,
}

/// One process.
struct Process {
    name: String,
    threads: u64,
    /// Bytes.
    resident: u64,
}

impl Usage {
    /// `None` when nothing is limited.
    pub fn watch(limits: &Limits, namespace: bool) -> Option<Self> {
        if limits.memory.is_none() && limits.tasks.is_none() {
            return None;
        }
        let now = Instant::now();
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| bytes.try_into().ok());
        Some(Self {
            memory: limits.memory,
            tasks: limits.tasks,
            namespace,
            loadavg: File::open("/proc/loadavg").ok().filter(|_| namespace),
            counted: (0, u64::MAX),
            newest: 0,
            due: now,
            memory_due: now,
            page: page.unwrap_or(4096),
            near: [None, None],
            told: None,
        })
    }

    /// What of the tree is near its limit, or that nothing is any more: when it has changed, and again now and then.
    pub fn news(&mut self) -> Option<Option<Excess>> {
        let near = self.near.iter().flatten().next().cloned();
        let fresh = match &self.told {
            None => near.is_some(),
            Some((told, at)) => told.is_some() != near.is_some() || (near.is_some() && at.elapsed() >= TELL_AGAIN),
        };
        fresh.then(|| {
            self.told = Some((near.clone(), Instant::now()));
            near
        })
    }

    /// How long until the next look.
    pub fn patience(&self) -> Duration {
        // Rounded up: `poll` counts whole milliseconds.
        self.due.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
    }

    /// Looks, if it is time to. `Some`: the tree uses too much.
    pub fn look(&mut self) -> Option<Excess> {
        let now = Instant::now();
        if now < self.due {
            return None;
        }
        let newest = self.newest_task();
        let started = newest != Some(self.newest);
        self.newest = newest.unwrap_or(0);
        self.due = now + if started { BUSY } else { CALM };
        // The numbers began again, or nobody tells them: then they have to be counted.
        let most = newest.and_then(|newest| self.counted.1.checked_add(newest.checked_sub(self.counted.0)?)).unwrap_or(u64::MAX);
        let too_many = self.tasks.is_some_and(|limit| most > limit);
        let memory_due = self.memory.is_some() && now >= self.memory_due;
        if !too_many && !memory_due {
            return None;
        }
        let tree = self.tree();
        let tasks = tree.iter().map(|(_, process)| process.threads).sum();
        self.counted = (self.newest, tasks);
        if let Some(limit) = self.tasks.filter(|limit| tasks > *limit) {
            let most = most_of(tree.iter().map(|(_, process)| (process.name.as_str(), process.threads)));
            return Some(Excess { of: Resource::Tasks, used: tasks, limit, most });
        }
        self.near[0] = self.tasks.and_then(|limit| near(Resource::Tasks, tasks, limit, &tree));
        let limit = self.memory.filter(|_| memory_due)?;
        let (used, most) = self.memory_of(&tree, limit);
        if used > limit {
            return Some(Excess { of: Resource::Memory, used, limit, most });
        }
        self.near[1] = near(Resource::Memory, used, limit, &tree);
        let left = Duration::from_millis((limit - used).saturating_mul(1000) / FILLED_PER_SECOND);
        self.memory_due = now + left.clamp(MEMORY, MEMORY_AT_LEAST_EVERY);
        self.due = self.due.min(self.memory_due);
        None
    }

    /// The number of the task that was started last in this namespace: the last field of `/proc/loadavg`.
    fn newest_task(&self) -> Option<u64> {
        let mut line = [0u8; 128];
        let length = self.loadavg.as_ref()?.read_at(&mut line, 0).ok()?;
        std::str::from_utf8(line.get(..length)?).ok()?.split_whitespace().last()?.parse().ok()
    }

    /// Everybody, or so many that there are too many: who counts on while the tree forks never comes to an end.
    fn tree(&self) -> Vec<(i32, Process)> {
        let own = std::process::id().cast_signed();
        let everybody = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids: Box<dyn Iterator<Item = i32>> = if self.namespace {
            Box::new(everybody.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |pid| *pid != own))
        } else {
            Box::new(reaper::descendants(own).into_iter())
        };
        let (limit, mut tasks) = (self.tasks.unwrap_or(u64::MAX), 0u64);
        let counted = pids.filter_map(|pid| Some((pid, Process::of(pid, self.page)?)));
        let within = counted.scan(false, |over, (pid, process)| {
            if std::mem::replace(over, tasks + process.threads > limit) {
                return None;
            }
            tasks += process.threads;
            Some((pid, process))
        });
        within.collect()
    }

    /// Bytes that the tree holds, and who holds most of them.
    fn memory_of(&self, tree: &[(i32, Process)], limit: u64) -> (u64, String) {
        let files = if self.namespace { in_private_files() } else { 0 };
        let resident: u64 = tree.iter().map(|(_, process)| process.resident).sum();
        if resident + files <= limit {
            return (resident + files, String::new());
        }
        let shares: Vec<Share> = tree.iter().map(|(pid, process)| Share::of(*pid).unwrap_or(Share::whole(process.resident))).collect();
        let own: u64 = shares.iter().map(|share| share.own).sum();
        // What lies in private files may be mapped too: it is not counted twice.
        let shared = shares.iter().map(|share| share.shared).sum::<u64>().max(files);
        let by_name = tree.iter().zip(&shares).map(|((_, process), share)| (process.name.as_str(), share.own + share.shared));
        let most = most_of(by_name.chain(std::iter::once(("files in /tmp", files))));
        (own + shared, most)
    }
}

impl Process {
    fn of(pid: i32, page: u64) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, parentheses included.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.chars().filter(|c| !c.is_control()).collect();
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        // A zombie counts as the task that it still is.
        Some(Self { name, threads: number(17)?.max(1), resident: number(21)?.saturating_mul(page) })
    }
}

/// What a process holds, pages that several hold divided among them.
struct Share {
    own: u64,
    shared: u64,
}

impl Share {
    /// What files on the disk give is not counted: the kernel takes it back when it needs it.
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let bytes = |field: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(field))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
        };
        Some(Self { own: bytes("Pss_Anon:")? + bytes("SwapPss:").unwrap_or(0), shared: bytes("Pss_Shmem:")? })
    }

    /// One that does not let itself be looked at.
    fn whole(resident: u64) -> Self {
        Self { own: resident, shared: 0 }
    }
}

/// Bytes in the sandbox's own file systems in memory.
fn in_private_files() -> u64 {
    let mut seen = HashMap::new();
    for path in PRIVATE.map(Path::new) {
        let Ok(device) = fs::symlink_metadata(path).map(|found| found.dev()) else { continue };
        let Ok(system) = nix::sys::statfs::statfs(path) else { continue };
        if system.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC {
            let blocks = system.blocks().saturating_sub(system.blocks_free());
            seen.insert(device, blocks.saturating_mul(u64::try_from(system.block_size()).unwrap_or(4096)));
        }
    }
    seen.into_values().sum()
}

/// What is nearly too much.
fn near(of: Resource, used: u64, limit: u64, tree: &[(i32, Process)]) -> Option<Excess> {
    let much = |process: &Process| if of == Resource::Tasks { process.threads } else { process.resident };
    let most = || most_of(tree.iter().map(|(_, process)| (process.name.as_str(), much(process))));
    (used.saturating_mul(100) >= limit.saturating_mul(NEAR_PERCENT)).then(|| Excess { of, used, limit, most: most() })
}

/// The name with the largest sum.
fn most_of<'a>(uses: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut sums: HashMap<&str, u64> = HashMap::new();
    for (name, used) in uses {
        *sums.entry(name).or_default() += used;
    }
    sums.into_iter().max_by_key(|(name, used)| (*used, *name)).map(|(name, _)| name.to_owned()).unwrap_or_default()
}
