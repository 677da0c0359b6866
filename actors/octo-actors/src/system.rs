//! One tree of actors: the root supervisor and the directory. A value; nothing in it is global.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::Directory;
use crate::supervise::{Change, Supervisor};

/// A running tree. Clones share it; dropping the last one kills every actor in it.
#[derive(Clone)]
pub struct System(Arc<Inner>);

struct Inner {
    directory: Directory,
    root: Supervisor,
    failed: watch::Receiver<Option<String>>,
}

/// Builds a [`System`].
#[derive(Default)]
pub struct SystemBuilder {
    hook: Option<crate::directory::Hook>,
}

impl SystemBuilder {
    /// Calls `hook` at every step in an actor's life (started, restarting, degraded, escalated, ended), from inside
    /// the tree: it must not block or panic.
    #[must_use]
    pub fn on_change(mut self, hook: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Starts the system on the current tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(self) -> System {
        let directory = Directory::new(self.hook);
        let (tell, failed) = watch::channel(None);
        let root = Supervisor::spawn_root(directory.clone(), tell);
        System(Arc::new(Inner { directory, root, failed }))
    }
}

impl System {
    /// An empty tree on the current tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().start()
    }

    /// To set the hook.
    #[must_use]
    pub fn builder() -> SystemBuilder {
        SystemBuilder::default()
    }

    /// The supervisor at `/`.
    #[must_use]
    pub fn root(&self) -> &Supervisor {
        &self.0.root
    }

    /// Who is alive.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// Waits until a child of the root has exceeded its intensity and the whole tree is down; says why. A binary
    /// exits with 70 then, and the service manager starts it again.
    pub async fn failed(&self) -> String {
        let mut failed = self.0.failed.clone();
        let why = failed.wait_for(Option::is_some).await.ok().map(|why| why.clone().unwrap_or_default());
        match why {
            Some(why) => why,
            // Shut down without a failure: there will never be one.
            None => std::future::pending().await,
        }
    }

    /// Stops the tree: children of the root in reverse order of start, gracefully, each killed at its kind's
    /// `stop_within` and all of them after `within`.
    pub async fn shutdown(&self, within: Duration) {
        self.0.root.stop_all(within).await;
        self.0.root.end();
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.root.kill();
    }
}
