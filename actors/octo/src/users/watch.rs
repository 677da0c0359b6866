//! Watching the tree: one look a second, however many watch, and only at the runners that somebody watches.
//!
//! A look makes a [`Tree`], a value in which a row that has not changed is the same `Arc` as before. So each watcher compares pointers with the tree that
//! it knew, and one that is slow compares with an older tree: nothing queues up behind it. A runner that does not answer holds up nobody: its rows stay as
//! they were, and the tree says so.

use super::registry::{Awake, mount};
use crate::auth::{UserId, subtree_of};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use octo_actors::{ActorPath, Directory};
use octo_protocol::ProtocolError;
use octo_protocol::admin::LeftOut;
use octo_protocol::link::{Principal, RequestBody};
use octo_protocol::mux::system::ActorRow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How often the tree is looked at while somebody watches.
const EVERY: Duration = Duration::from_secs(1);
/// Least time between two looks, however often somebody begins to watch.
const LEAST: Duration = Duration::from_millis(250);
/// How long a look waits for the answers of runners; later ones are of the next look.
const PATIENCE: Duration = Duration::from_millis(750);
/// The longest that a runner is waited for, over all looks.
const RUNNER_DEADLINE: Duration = Duration::from_secs(10);

/// The tree at one moment.
#[derive(Debug, Default)]
pub struct Tree {
    /// In order of path.
    rows: Vec<Arc<ActorRow>>,
    left_out: Vec<LeftOut>,
    at: i64,
    /// Whoever joined up to here had their runners asked.
    joined: u64,
}

/// What is different in a tree for somebody who knows an earlier one.
#[derive(Debug, Default, PartialEq)]
pub struct Difference {
    /// New ones, and ones that have changed.
    pub rows: Vec<Arc<ActorRow>>,
    /// Paths at which there is nothing any more.
    pub gone: Vec<String>,
}

impl Tree {
    /// When it was looked at, Unix milliseconds.
    #[must_use]
    pub fn at(&self) -> i64 {
        self.at
    }

    /// The trees of runners that should be at or below `path` and are not, or are as they were a while ago.
    #[must_use]
    pub fn left_out(&self, path: &ActorPath) -> Vec<LeftOut> {
        let near = |left: &&LeftOut| ActorPath::parse(&left.path).is_ok_and(|at| at.is_under(path) || path.is_under(&at));
        self.left_out.iter().filter(near).cloned().collect()
    }

    /// What has changed at and below `path` since `before`.
    #[must_use]
    pub fn since(&self, before: &Self, path: &ActorPath) -> Difference {
        let mut difference = Difference::default();
        let mut old = before.below(path).peekable();
        for row in self.below(path) {
            while let Some(gone) = old.next_if(|old| old.path < row.path) {
                difference.gone.push(gone.path.clone());
            }
            if old.next_if(|old| old.path == row.path).is_none_or(|old| !Arc::ptr_eq(old, row)) {
                difference.rows.push(Arc::clone(row));
            }
        }
        difference.gone.extend(old.map(|gone| gone.path.clone()));
        difference
    }

    fn below<'a>(&'a self, path: &'a ActorPath) -> impl Iterator<Item = &'a Arc<ActorRow>> {
        let from = self.rows.partition_point(|row| row.path.as_str() < path.as_str());
        // All of them begin with it, and so do those of `/users/alice-2` beside `/users/alice`.
        let beside = self.rows.iter().skip(from).take_while(move |row| row.path.starts_with(path.as_str()));
        let base = path.as_str().len();
        beside.filter(move |row| path.is_root() || row.path.len() == base || row.path.as_bytes().get(base) == Some(&b'/'))
    }

    /// The next tree: `rows` in order of path, those that are as before shared with it.
    fn next(&self, rows: Vec<ActorRow>, left_out: Vec<LeftOut>, joined: u64) -> Self {
        let mut old = self.rows.iter().peekable();
        let mut shared = |row: ActorRow| {
            while old.next_if(|old| old.path < row.path).is_some() {}
            match old.peek() {
                Some(same) if ***same == row => Arc::clone(same),
                _ => Arc::new(row),
            }
        };
        let rows = rows.into_iter().map(&mut shared).collect();
        Self { rows, left_out, at: super::now_ms(), joined }
    }
}

/// What is watched just now.
#[derive(Clone, Default)]
pub(super) struct Watchers(Arc<Watched>);

#[derive(Default)]
struct Watched {
    paths: Mutex<Paths>,
    joined: Notify,
}

#[derive(Default)]
struct Paths {
    last: u64,
    by_number: BTreeMap<u64, ActorPath>,
}

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, Paths> {
        self.0.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one who watches `path` through `trees`.
    pub fn join(&self, path: ActorPath, trees: watch::Receiver<Arc<Tree>>) -> Watch {
        let number = {
            let mut paths = self.lock();
            paths.last += 1;
            let number = paths.last;
            paths.by_number.insert(number, path);
            number
        };
        self.0.joined.notify_one();
        Watch { trees, number, watchers: self.clone() }
    }

    /// The number of who joined last, and what all of them watch.
    fn now(&self) -> (u64, BTreeSet<ActorPath>) {
        let paths = self.lock();
        (paths.last, paths.by_number.values().cloned().collect())
    }
}

/// Somebody watches; until it is dropped.
pub struct Watch {
    trees: watch::Receiver<Arc<Tree>>,
    number: u64,
    watchers: Watchers,
}

impl Watch {
    /// The next tree; those that came while nobody asked are passed over. `None` when the branch of all users was restarted: watch again.
    pub async fn next(&mut self) -> Option<Arc<Tree>> {
        loop {
            self.trees.changed().await.ok()?;
            let tree = Arc::clone(&self.trees.borrow_and_update());
            if tree.joined >= self.number {
                return Some(tree);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchers.lock().by_number.remove(&self.number);
    }
}

/// A runner's answer, and whose.
type Answer = (UserId, Result<Vec<u8>, ProtocolError>);

/// Looks at the tree for as long as somebody watches.
pub(super) struct Lookout {
    pub awake: Awake,
    pub directory: Directory,
    pub watchers: Watchers,
    pub trees: watch::Sender<Arc<Tree>>,
}

impl Lookout {
    /// Ends when nobody watches any more.
    pub async fn run(self) {
        let mut asking: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
        let mut asked: BTreeSet<UserId> = BTreeSet::new();
        let mut failed: BTreeMap<UserId, LeftOut> = BTreeMap::new();
        loop {
            let began = Instant::now();
            let (joined, paths) = self.watchers.now();
            if paths.is_empty() {
                return;
            }
            let watched = |user: &UserId| {
                let subtree = subtree_of(user);
                paths.iter().any(|path| subtree.is_under(path) || path.is_under(&subtree))
            };
            failed.retain(|user, _| self.awake.is_awake(user) && watched(user));
            for user in self.awake.all().into_iter().filter(|user| watched(user.id())) {
                if !asked.insert(user.id().clone()) {
                    continue;
                }
                asking.push(Box::pin(async move {
                    let id = user.id().clone();
                    // Nobody in particular asks: it is for all who watch.
                    let principal = Principal { user: id.to_string(), actor: id.to_string() };
                    let rows = match user.linked() {
                        Some(link) => link.request(principal, RequestBody::Actors, RUNNER_DEADLINE).await,
                        None => Err(user.unlinked()),
                    };
                    (id, rows)
                }));
            }
            let late = tokio::time::sleep_until(began + PATIENCE);
            tokio::pin!(late);
            while !asking.is_empty() {
                tokio::select! {
                    Some((user, rows)) = asking.next() => {
                        asked.remove(&user);
                        match mount(&self.awake, &self.directory, &user, rows) {
                            Some(left_out) => failed.insert(user, left_out),
                            None => failed.remove(&user),
                        };
                    }
                    () = &mut late => break,
                }
            }
            let silent = asked.iter().filter(|user| !failed.contains_key(*user)).map(|user| LeftOut {
                path: format!("{}/runner", subtree_of(user)),
                reason: "it does not answer; what is shown of it is from before".to_owned(),
            });
            let left_out = failed.values().cloned().chain(silent).collect();
            let rows = self.directory.list().into_iter().map(crate::mux::actors::row).collect();
            let tree = self.trees.borrow().next(rows, left_out, joined);
            self.trees.send_replace(Arc::new(tree));
            tokio::select! {
                () = tokio::time::sleep_until(began + EVERY) => {}
                () = self.watchers.0.joined.notified() => tokio::time::sleep_until(began + LEAST).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(path: &str, processed: u64) -> ActorRow {
        ActorRow {
            path: path.to_owned(),
            kind: "session".to_owned(),
            state: "running".to_owned(),
            restarts: 0,
            mailbox: 0,
            processed,
            last_error: None,
            started_at: 1,
            mailbox_limit: Some(16),
            busy_ms: None,
            busy_with: None,
        }
    }

    fn path(text: &str) -> ActorPath {
        ActorPath::parse(text).unwrap()
    }

    fn changed(tree: &Tree, before: &Tree, below: &str) -> (Vec<String>, Vec<String>) {
        let difference = tree.since(before, &path(below));
        (difference.rows.iter().map(|row| row.path.clone()).collect(), difference.gone)
    }

    #[test]
    fn only_rows_that_changed_are_different_and_what_is_gone_is_named() {
        let empty = Tree::default();
        let first = empty.next(vec![row("/users", 1), row("/users/a", 1), row("/users/a/sessions/s", 5)], Vec::new(), 1);
        assert_eq!(changed(&first, &empty, "/").0.len(), 3);
        let second = first.next(vec![row("/users", 1), row("/users/a", 2), row("/users/b", 1)], Vec::new(), 1);
        assert_eq!(
            changed(&second, &first, "/"),
            (vec!["/users/a".to_owned(), "/users/b".to_owned()], vec!["/users/a/sessions/s".to_owned()])
        );
        assert_eq!(second.since(&second, &path("/")), Difference::default());
        // Who was slow and knows the first one alone misses nothing.
        let third = second.next(vec![row("/users", 1), row("/users/a", 1), row("/users/b", 1)], Vec::new(), 1);
        assert_eq!(changed(&third, &second, "/").0, ["/users/a"]);
        assert_eq!(changed(&third, &first, "/").1, ["/users/a/sessions/s"]);
    }

    #[test]
    fn a_subtree_holds_nothing_of_a_user_whose_name_begins_the_same() {
        let rows = ["/services", "/users", "/users/a", "/users/a-2", "/users/a-2/runner", "/users/a/runner", "/users/aa", "/users/b"];
        let tree = Tree::default().next(rows.iter().map(|path| row(path, 1)).collect(), Vec::new(), 1);
        assert_eq!(changed(&tree, &Tree::default(), "/users/a").0, ["/users/a", "/users/a/runner"]);
        assert_eq!(changed(&tree, &Tree::default(), "/users/a-2").0, ["/users/a-2", "/users/a-2/runner"]);
        assert_eq!(changed(&tree, &Tree::default(), "/nobody").0, Vec::<String>::new());
        assert_eq!(changed(&tree, &Tree::default(), "/").0.len(), rows.len());
    }

    #[test]
    fn a_tree_that_is_left_out_is_told_to_whom_it_concerns() {
        let left = LeftOut { path: "/users/a/runner".to_owned(), reason: "it does not answer".to_owned() };
        let tree = Tree::default().next(Vec::new(), vec![left.clone()], 1);
        for near in ["/", "/users/a", "/users/a/runner", "/users/a/runner/sessions"] {
            assert_eq!(tree.left_out(&path(near)), std::slice::from_ref(&left), "{near}");
        }
        assert_eq!(tree.left_out(&path("/users/b")), []);
    }
}
