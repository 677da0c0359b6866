//! From one octo-eavs to the next: the registry of the one that ends gives up the store, that of the next takes in what is settled meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use crate::key::KeyName;
use crate::left::{Leaving, Left, Open, Settled};
use crate::registry::{Books, Key, Registry, RegistryError, count};

/// How long the one that ends may take to hear that a key was revoked. Its stream ends then.
const REVOKE_WITHIN: Duration = Duration::from_secs(2);

impl Registry {
    /// Gives the store up: from now on no request begins and no key is changed here, and what the requests under way use is left to the next octo-eavs, which may
    /// open the store when this returns. `admin`: where this process goes on hearing of revoked keys.
    ///
    /// # Errors
    /// The store's, or the disk's: then the store stays this process's, and the next one can only start when it has ended.
    pub async fn hand_over(&self, admin: &Path) -> Result<(), RegistryError> {
        self.closing.store(true, Ordering::Release);
        // Nobody else holds the store across an await.
        let _turn = self.turn().await?;
        let Some(store) = self.own_store() else { return Ok(()) };
        self.flush_to(&store).await?;
        let open = self.own_open();
        let leaving = if open.is_empty() {
            None
        } else {
            Some(Leaving::begin(store.data_dir(), admin, open).map_err(|e| store.failed(e.to_string()))?)
        };
        *self.books.write().unwrap_or_else(PoisonError::into_inner) = Books::Left(leaving);
        // What was settled since the last flush.
        let flushed = store.flush().await;
        // The last handle: its lock is free when this is done.
        if tokio::task::spawn_blocking(move || drop(store)).await.is_err() {
            tracing::error!("the store was not closed as it should be");
        }
        Ok(flushed?)
    }

    /// Requests that are under way in this process. Each key is looked at under its lock, and begins none after that.
    fn own_open(&self) -> Open {
        let left = self.left();
        let of_others = |key: &KeyName, id: &u64| left.iter().any(|l| l.open_requests().get(key).is_some_and(|ids| ids.contains(id)));
        let own = |key: &Arc<Key>| {
            let name = key.record().name.clone();
            let ids: BTreeSet<u64> = key.state().usage.reserved.keys().copied().filter(|id| !of_others(&name, id)).collect();
            (name, ids)
        };
        self.list().iter().map(own).filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// Takes in what octo-eavs of before have settled meanwhile. True when nothing more is to come.
    pub async fn inherit(&self) -> bool {
        let Ok(_turn) = self.turn().await else { return false };
        let Some(store) = self.own_store() else { return true };
        let mut over = Vec::new();
        {
            let mut left = self.left();
            for mut one in std::mem::take(&mut *left) {
                // In this order: what comes after the look is read all the same.
                let is_over = one.is_over();
                match one.news() {
                    Ok(settled) => settled.iter().for_each(|settled| self.settle_left(settled)),
                    Err(error) => tracing::error!(%error, "what an earlier octo-eavs has settled cannot be read"),
                }
                if is_over { over.push(one) } else { left.push(one) }
            }
        }
        for one in &over {
            for (name, ids) in one.open_requests() {
                self.count_as_spent(name, |id| ids.contains(&id));
            }
        }
        if !over.is_empty() {
            match self.flush_to(&store).await {
                Ok(()) => over.into_iter().for_each(Left::remove),
                // It is read again, and nothing counts twice.
                Err(error) => {
                    tracing::warn!(%error, "what an earlier octo-eavs has settled is not on the disk yet");
                    self.left().extend(over);
                }
            }
        }
        self.left().is_empty()
    }

    /// Counts it if it is still reserved.
    fn settle_left(&self, settled: &Settled) {
        let Some(key) = self.get(&settled.key) else { return };
        let mut state = key.state();
        if state.usage.reserved.contains_key(&settled.id) {
            count(&mut state.usage, key.record().permissions.budget_window, settled.id, &settled.used);
            self.save(&key, &state.usage);
        }
    }

    /// Of requests that nobody will settle any more.
    fn count_as_spent(&self, name: &KeyName, which: impl Fn(u64) -> bool) {
        let Some(key) = self.get(name) else { return };
        let mut state = key.state();
        state.usage.roll(key.record().permissions.budget_window, OffsetDateTime::now_utc());
        if state.usage.recover(which) {
            self.save(&key, &state.usage);
        }
    }

    /// Ends the streams of a revoked key that an earlier octo-eavs still serves.
    pub(crate) async fn revoke_left(&self, name: &KeyName) {
        let told: Vec<PathBuf> = self.left().iter().filter_map(|left| left.admin_for(name)).collect();
        for admin in told {
            if let Err(error) = revoke_at(&admin, name).await {
                tracing::error!(key = %name, %error, "an earlier octo-eavs does not hear that a key was revoked; its stream goes on to its end");
            }
        }
    }

    fn left(&self) -> MutexGuard<'_, Vec<Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn revoke_at(admin: &Path, name: &KeyName) -> Result<(), reqwest::Error> {
    let client = reqwest::Client::builder().unix_socket(admin.to_owned()).timeout(REVOKE_WITHIN).build()?;
    let url = format!("http://octo-eavs/admin/keys/{}", name.as_str().replace('/', "%2F"));
    let answer = client.delete(url).send().await?;
    // One that has no such key has no stream of it.
    if answer.status() == http::StatusCode::NOT_FOUND { Ok(()) } else { answer.error_for_status().map(drop) }
}
