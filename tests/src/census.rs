//! Who belongs to an instance: every process of it, also those that a tool double-forked, moved to a session of their own or robbed of their environment.
//!
//! Names prove nothing, so they are not asked. A process is a member when its environment, folder or root names the instance's home, when it runs in
//! a PID namespace that a member was ever seen in, or when it descends from a member. The kernel gives the number of a namespace that has ended to the next
//! one, which may be another test's: a namespace is known by its number and its first process.

use crate::process::{Process, processes};
use crate::{Instance, until};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Finds the processes of one instance, and remembers the namespaces that they lived in.
#[derive(Debug, Default)]
pub struct Census {
    namespaces: HashSet<(PathBuf, Identity)>,
    seen: HashSet<Identity>,
}

/// A process: its pid and when it began.
type Identity = (i32, u64);

/// One member.
#[derive(Debug, Clone)]
pub struct Member {
    pub process: Process,
    /// Its PID namespace, when it is not the test's own.
    pub namespace: Option<PathBuf>,
    /// Its folder.
    pub folder: Option<PathBuf>,
    /// Its executable.
    pub program: Option<PathBuf>,
    /// Its pid in its own namespace.
    pub inner_pid: i32,
}

impl Member {
    fn of(process: Process, own: Option<&PathBuf>) -> Self {
        let link = |name: &str| std::fs::read_link(format!("/proc/{}/{name}", process.pid)).ok();
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
        let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last()?.parse().ok());
        Self {
            namespace: link("ns/pid").filter(|namespace| Some(namespace) != own),
            folder: link("cwd"),
            program: link("exe"),
            inner_pid: inner.unwrap_or(process.pid),
            process,
        }
    }

    fn identity(&self) -> Identity {
        (self.process.pid, self.process.started)
    }

    fn names(&self, home: &Path) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.starts_with(home)) || self.process.environment().contains(&*home.to_string_lossy())
    }

    /// It waits for its parent to take note of its end.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.process.state == 'Z'
    }
}

impl Census {
    /// Everybody who belongs to `instance` now.
    pub fn take(&mut self, instance: &Instance) -> Vec<Member> {
        let own = std::fs::read_link("/proc/self/ns/pid").ok();
        let everybody: Vec<Member> = processes().into_iter().map(|process| Member::of(process, own.as_ref())).collect();
        let mut children: HashMap<i32, Vec<usize>> = HashMap::new();
        for (at, member) in everybody.iter().enumerate() {
            children.entry(member.process.parent).or_default().push(at);
        }
        let home = instance.home();
        let firsts: HashMap<&PathBuf, Identity> =
            everybody.iter().filter(|m| m.inner_pid == 1).filter_map(|m| Some((m.namespace.as_ref()?, m.identity()))).collect();
        let space = |member: &Member| {
            let number = member.namespace.as_ref()?;
            Some((number.clone(), *firsts.get(number)?))
        };
        let known = |member: &Member| self.seen.contains(&member.identity()) || space(member).is_some_and(|s| self.namespaces.contains(&s));
        let mine = |member: &Member| known(member) || member.names(home);
        let mut open: Vec<usize> = (0..everybody.len()).filter(|at| mine(&everybody[*at])).collect();
        let mut found = HashSet::new();
        while let Some(at) = open.pop() {
            if found.insert(at) {
                open.extend(children.get(&everybody[at].process.pid).into_iter().flatten());
            }
        }
        let spaces: Vec<_> = found.iter().filter_map(|at| space(&everybody[*at])).collect();
        self.namespaces.extend(spaces);
        let members: Vec<Member> =
            everybody.into_iter().enumerate().filter(|(at, _)| found.contains(at)).map(|(_, member)| member).collect();
        self.seen.extend(members.iter().map(Member::identity));
        members
    }

    /// Waits until nobody of `members` is left, neither running nor as somebody's zombie within the instance.
    pub async fn are_gone(&mut self, members: &[Member], what: &str) {
        let left = || members.iter().filter(|member| member.process.is_alive()).map(|member| member.process.clone()).collect::<Vec<_>>();
        until(&format!("{what}: nobody of the old tree is left"), || left().is_empty().then_some(())).await;
    }

    /// Waits until only octo itself and one daemon of each kind are left of `instance`, and no zombie.
    pub async fn only_daemons(&mut self, instance: &Instance) {
        let end = tokio::time::Instant::now() + crate::PATIENCE;
        loop {
            let strays = self.strays(instance);
            if strays.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "orphans: {strays:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }

    /// Whoever is not octo, its one runner or its one octo-eavs; and every zombie.
    pub fn strays(&mut self, instance: &Instance) -> Vec<Member> {
        let (mut runners, mut proxies) = (0, 0);
        let is =
            |member: &Member, name: &str| member.program.as_ref().is_some_and(|program| program.file_name().is_some_and(|n| n == name));
        let mut strays = self.take(instance);
        strays.retain(|member| {
            let outside = member.namespace.is_none() && !member.is_zombie();
            let octo = Some(member.process.pid) == instance.octo_pid();
            let runner = is(member, "octo-runner");
            let proxy = is(member, "octo-eavs");
            runners += u32::from(runner);
            proxies += u32::from(proxy);
            !(outside && (octo || (runner && runners == 1) || (proxy && proxies == 1)))
        });
        strays
    }

    /// Waits until nobody at all is left of a stopped `instance`.
    pub async fn nobody(&mut self, instance: &Instance) {
        let end = tokio::time::Instant::now() + crate::PATIENCE;
        loop {
            let left: Vec<Member> = self.take(instance).into_iter().filter(|member| !member.is_zombie()).collect();
            if left.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "left of a stopped instance: {left:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }
}
