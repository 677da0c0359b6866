//! The directory: path → row, for one system.
//!
//! A value, not a global: two systems in one process never meet. Remote trees (a runner's) are mounted as
//! plain rows below a local path.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::census::Tallies;
use crate::inspect::Inspection;
use crate::row::{Row, lock, millis};
use crate::supervise::{Change, Lifecycle, RestartError, StopError, Stopped};
use crate::trace::{Taps, TooManyTaps, Trace};
use crate::{ActorPath, ActorRow, ActorState};

/// Rows kept of one mounted tree; more are cut off.
pub const MAX_REMOTE_ROWS: usize = 16_384;
/// Ended actors remembered.
pub const MAX_ENDED: usize = 128;

pub(crate) type Hook = Box<dyn Fn(&Change) + Send + Sync>;

/// Everything alive in one system. Clones share.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    rows: RwLock<BTreeMap<ActorPath, Arc<Row>>>,
    mounts: RwLock<BTreeMap<ActorPath, Arc<[ActorRow]>>>,
    ended: Mutex<VecDeque<ActorRow>>,
    taps: Arc<Taps>,
    tallies: Tallies,
    hook: Option<Hook>,
}

impl Directory {
    pub(crate) fn new(hook: Option<Hook>) -> Self {
        Self(Arc::new(Inner {
            rows: RwLock::default(),
            mounts: RwLock::default(),
            ended: Mutex::default(),
            taps: Arc::default(),
            tallies: Tallies::default(),
            hook,
        }))
    }

    /// Every actor, mounted ones included, in order of path.
    #[must_use]
    pub fn list(&self) -> Vec<ActorRow> {
        self.subtree(&ActorPath::root())
    }

    /// The actor at `prefix` and all below it, mounted ones included, in order of path.
    #[must_use]
    pub fn subtree(&self, prefix: &ActorPath) -> Vec<ActorRow> {
        let local = self.local_rows(prefix);
        let mut rows: Vec<_> = local.iter().map(|row| row.view()).collect();
        let mounts: Vec<_> = read(&self.0.mounts).values().cloned().collect();
        rows.extend(mounts.iter().flat_map(|m| m.iter()).filter(|r| r.path.is_under(prefix)).cloned());
        rows.sort_by(|a, b| a.path.cmp(&b.path));
        rows
    }

    /// The row at `path`.
    #[must_use]
    pub fn get(&self, path: &ActorPath) -> Option<ActorRow> {
        self.row(path).map(|row| row.view()).or_else(|| {
            let (_, mount) = self.mount_of(path)?;
            mount.iter().find(|row| row.path == *path).cloned()
        })
    }

    /// Row and last snapshot of the local actor at `path`. Reads only: works on a stuck actor and costs it nothing.
    #[must_use]
    pub fn inspect(&self, path: &ActorPath) -> Option<Inspection> {
        let row = self.row(path)?;
        let (snapshot, age) = row.snapshot.read();
        Some(Inspection { row: row.view(), snapshot, age_ms: age.map(millis) })
    }

    /// Taps the messages of the actor at `prefix` and all below it, local ones only.
    ///
    /// # Errors
    /// When too many traces are running.
    pub fn trace(&self, prefix: ActorPath) -> Result<Trace, TooManyTaps> {
        self.0.taps.open(prefix)
    }

    /// The last [`MAX_ENDED`] actors that ended for good, latest first.
    #[must_use]
    pub fn ended(&self) -> Vec<ActorRow> {
        lock(&self.0.ended).iter().rev().cloned().collect()
    }

    /// The actor that ended at `path` for good, if it is one of the last [`MAX_ENDED`]; of several the latest.
    #[must_use]
    pub fn ended_at(&self, path: &ActorPath) -> Option<ActorRow> {
        lock(&self.0.ended).iter().rev().find(|row| row.path == *path).cloned()
    }

    /// Restarts the local actor at `path`: graceful stop, then a fresh incarnation at once, whatever its policy
    /// and without counting against its intensity. Brings a degraded actor back.
    ///
    /// # Errors
    /// When there is none, or the old incarnation does not end.
    pub async fn restart(&self, path: &ActorPath) -> Result<(), RestartError> {
        let row = self.row(path).ok_or_else(|| RestartError::NotFound(path.clone()))?;
        row.supervisor.restart_path(path.clone(), row.kind.stop_within).await
    }

    /// Stops the local actor at `path` for good, whatever its policy; gracefully within its kind's `stop_within`.
    ///
    /// # Errors
    /// When there is none, or it does not end.
    pub async fn stop(&self, path: &ActorPath) -> Result<Stopped, StopError> {
        let row = self.row(path).ok_or_else(|| StopError::NotFound(path.clone()))?;
        row.supervisor.stop_path(path.clone(), row.kind.stop_within).await
    }

    /// Shows `rows` of another process below `prefix`, in place of what was mounted there. Their paths are as that
    /// process says them (`/sessions/ses_1`); its texts are cut to their limits here, for it is not trusted. Returns how
    /// many rows were left out: beyond [`MAX_REMOTE_ROWS`], or with a path too long.
    pub fn mount(&self, prefix: ActorPath, rows: Vec<ActorRow>) -> usize {
        let offered = rows.len();
        let placed: Arc<[ActorRow]> = rows
            .into_iter()
            .filter_map(|row| {
                let path = prefix.join(row.path.below(&ActorPath::root())?).ok()?;
                Some(ActorRow { path, remote: true, ..row.clipped() })
            })
            .take(MAX_REMOTE_ROWS)
            .collect();
        let cut = offered - placed.len();
        write(&self.0.mounts).insert(prefix, placed);
        cut
    }

    /// Ends a mount. Returns whether there was one.
    pub fn unmount(&self, prefix: &ActorPath) -> bool {
        write(&self.0.mounts).remove(prefix).is_some()
    }

    /// Whether `path` lies below a mount: the mount's prefix, and the path as the other process says it.
    #[must_use]
    pub fn remote(&self, path: &ActorPath) -> Option<(ActorPath, ActorPath)> {
        let (prefix, _) = self.mount_of(path)?;
        let there = ActorPath::root().join(path.below(&prefix)?).ok()?;
        Some((prefix, there))
    }

    fn mount_of(&self, path: &ActorPath) -> Option<(ActorPath, Arc<[ActorRow]>)> {
        let mounts = read(&self.0.mounts);
        let found = mounts.iter().filter(|(p, _)| path.is_under(p)).max_by_key(|(p, _)| p.as_str().len());
        found.map(|(prefix, rows)| (prefix.clone(), Arc::clone(rows)))
    }

    pub(crate) fn local_rows(&self, prefix: &ActorPath) -> Vec<Arc<Row>> {
        let rows = read(&self.0.rows);
        let from = rows.range(prefix.clone()..).take_while(|(path, _)| path.as_str().starts_with(prefix.as_str()));
        from.filter(|(path, _)| path.is_under(prefix)).map(|(_, row)| Arc::clone(row)).collect()
    }

    fn row(&self, path: &ActorPath) -> Option<Arc<Row>> {
        read(&self.0.rows).get(path).cloned()
    }

    pub(crate) fn tallies(&self) -> &Tallies {
        &self.0.tallies
    }

    pub(crate) fn taps(&self) -> &Arc<Taps> {
        &self.0.taps
    }

    /// Places a row; false when the path is taken.
    pub(crate) fn place(&self, row: &Arc<Row>) -> bool {
        let mut rows = write(&self.0.rows);
        if rows.contains_key(&row.path) {
            return false;
        }
        rows.insert(row.path.clone(), Arc::clone(row));
        true
    }

    /// Takes an ended actor's row away and remembers it among the ended.
    pub(crate) fn remove(&self, row: &Arc<Row>) {
        {
            let mut rows = write(&self.0.rows);
            if rows.get(&row.path).is_some_and(|there| Arc::ptr_eq(there, row)) {
                rows.remove(&row.path);
            }
        }
        {
            let mut ended = lock(&self.0.ended);
            if ended.len() == MAX_ENDED {
                ended.pop_front();
            }
            ended.push_back(ActorRow { state: ActorState::Stopped, ..row.view() });
        }
        // Last: whoever waits for the end finds its place free.
        row.set_state(ActorState::Stopped);
    }

    pub(crate) fn tell_hook(&self, row: &Row, what: Lifecycle) {
        row.tally.note(&what);
        if let Some(hook) = &self.0.hook {
            hook(&Change { path: row.path.clone(), kind: row.kind.name, what });
        }
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
