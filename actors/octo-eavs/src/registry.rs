//! The living keys: found by hash, limited, and counted (reserve, then settle).
//!
//! A request is let through when its budget is not used up by what was spent and what is reserved; then an upper estimate is
//! reserved until the real usage is known. Parallel requests therefore cannot pass a budget unseen, and a key overshoots by one
//! request at most.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::StatusCode;
use octo_protocol::TraceContext;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::dialect::Refusal;
use crate::key::{BudgetWindow, KeyHash, KeyName};
use crate::left::{Leaving, Left, Settled};
use crate::limits::{MAX_KEYS, MAX_STREAMS_PER_KEY};
use crate::record::{KeyRecord, Usage};
use crate::store::{Store, StoreError};
use crate::usage::Tokens;

/// How long a change of a key waits for the one before it.
const TURN: Duration = Duration::from_secs(10);

/// Why a key was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Another key has this secret.
    #[error("another key has the same hash: every key needs its own secret")]
    HashTaken,
    /// The store is full.
    #[error("there are {MAX_KEYS} keys already: delete keys of ended sessions first")]
    Full,
    /// The disk holds other writes up.
    #[error("other changes of keys have been waiting for the disk for {TURN:?}: look at the disk, then try again")]
    Busy,
    /// The store is another one's.
    #[error("this octo-eavs is ending and changes no keys any more: ask the next one")]
    Ending,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key in memory.
#[derive(Debug)]
pub struct Key {
    record: ArcSwap<KeyRecord>,
    revoked: CancellationToken,
    state: Mutex<State>,
    /// The turn under way in its session, when that is traced.
    turn: ArcSwapOption<TraceContext>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub usage: Usage,
    bucket: f64,
    filled: Instant,
    streams: u32,
}

impl Key {
    fn new(record: KeyRecord, usage: Usage) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { usage, bucket: f64::from(record.permissions.rpm.unwrap_or(0)), filled: Instant::now(), streams: 0 }),
            record: ArcSwap::from_pointee(record),
            revoked: CancellationToken::new(),
            turn: ArcSwapOption::empty(),
        })
    }

    /// Its record as of now.
    pub fn record(&self) -> Arc<KeyRecord> {
        self.record.load_full()
    }

    /// The turn that requests with it are made in, when that is traced.
    pub fn turn(&self) -> Option<TraceContext> {
        self.turn.load().as_deref().copied()
    }

    /// A turn has begun.
    pub fn begin_turn(&self, turn: TraceContext) {
        self.turn.store(Some(Arc::new(turn)));
    }

    /// That turn is over; another one that has begun meanwhile goes on.
    pub fn end_turn(&self, turn: TraceContext) {
        self.turn.rcu(|now| now.as_ref().filter(|now| ***now != turn).map(Arc::clone));
    }

    /// Fires when the key is deleted or gets another secret; streams under way end then.
    pub fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }

    /// The key as the admin interface shows it, without its secret, which nobody here knows.
    pub fn view(&self) -> Value {
        let record = self.record();
        let usage = self.state().usage.view();
        let stamp = |t: OffsetDateTime| t.format(&time::format_description::well_known::Rfc3339).ok();
        json!({
            "name": record.name,
            "key_id": record.name,
            "key_hash": record.key_hash,
            "created_at": stamp(record.created_at),
            "expires_at": record.expires_at.and_then(stamp),
            "disabled": false,
            "permissions": record.permissions,
            "metadata": record.metadata,
            "usage": usage,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Index {
    by_hash: HashMap<KeyHash, Arc<Key>>,
    by_name: HashMap<KeyName, Arc<Key>>,
}

/// Where counters are written.
#[derive(Debug)]
pub(crate) enum Books {
    /// Into the store, which is this process's.
    Own(Arc<Store>),
    /// For the next octo-eavs, whose the store is; nothing when no request was under way.
    Left(Option<Leaving>),
}

/// All keys, over the store.
#[derive(Debug)]
pub struct Registry {
    pub(crate) books: RwLock<Books>,
    /// What earlier ones have left, and have not settled yet.
    pub(crate) left: Mutex<Vec<Left>>,
    /// Nothing begins any more.
    pub(crate) closing: AtomicBool,
    index: RwLock<Index>,
    /// The turn of one admin write, so that memory and store agree. Whoever waits for it longer than [`TURN`] is refused.
    turn: Semaphore,
    /// The number of the next reservation. It begins anywhere, so that no octo-eavs gives a number that another one may still settle.
    reservations: AtomicU64,
    /// Counters were not written for want of room; [`Registry::catch_up`] writes them.
    missed: AtomicBool,
}

impl Registry {
    /// Loads the keys; reservations that a crash left open are counted as spent, those of a process that still serves them are not.
    pub fn open(store: Store) -> Result<Self, StoreError> {
        let mut index = Index::default();
        let mut missed = false;
        let left = Left::all(store.data_dir());
        for (record, mut usage) in store.load()? {
            let open = |id| left.iter().any(|l| l.open_requests().get(&record.name).is_some_and(|ids| ids.contains(&id)));
            if usage.recover(|id| !open(id)) {
                match store.put_usage(record.name.as_str(), &usage) {
                    Err(StoreError::Full(_)) => missed = true,
                    written => written?,
                }
            }
            let key = Key::new(record.clone(), usage);
            index.by_hash.insert(record.key_hash, Arc::clone(&key));
            index.by_name.insert(record.name, key);
        }
        Ok(Self {
            books: RwLock::new(Books::Own(Arc::new(store))),
            left: Mutex::new(left),
            closing: AtomicBool::new(false),
            index: RwLock::new(index),
            turn: Semaphore::new(1),
            reservations: AtomicU64::new(rand::random()),
            missed: missed.into(),
        })
    }

    /// The key of a presented secret.
    pub fn find(&self, secret: &str) -> Option<Arc<Key>> {
        self.read(|index| index.by_hash.get(&KeyHash::of(secret)).cloned())
    }

    /// The key of this name.
    pub fn get(&self, name: &KeyName) -> Option<Arc<Key>> {
        self.read(|index| index.by_name.get(name).cloned())
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.read(|index| index.by_name.len())
    }

    /// All keys by name.
    pub fn list(&self) -> Vec<Arc<Key>> {
        let mut keys: Vec<_> = self.read(|index| index.by_name.values().cloned().collect());
        keys.sort_by_cached_key(|k| k.record().name.clone());
        keys
    }

    /// The store, as long as it is this process's. Held across an await only by whoever has the turn.
    pub(crate) fn own_store(&self) -> Option<Arc<Store>> {
        match &*self.books.read().unwrap_or_else(PoisonError::into_inner) {
            Books::Own(store) => Some(Arc::clone(store)),
            Books::Left(_) => None,
        }
    }

    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, RegistryError> {
        tokio::time::timeout(TURN, self.turn.acquire()).await.ok().and_then(Result::ok).ok_or(RegistryError::Busy)
    }

    /// Registers a key or changes it; true if it is new. A changed hash makes the old secret invalid at once.
    pub async fn put(&self, mut record: KeyRecord) -> Result<(Arc<Key>, bool), RegistryError> {
        let _turn = self.turn().await?;
        let store = self.own_store().ok_or(RegistryError::Ending)?;
        let (old, holder, count) = self.read(|index| {
            let holder = index.by_hash.get(&record.key_hash).cloned();
            (index.by_name.get(&record.name).cloned(), holder, index.by_name.len())
        });
        if holder.is_some_and(|k| k.record().name != record.name) {
            return Err(RegistryError::HashTaken);
        }
        if let Some(key) = old {
            let before = key.record();
            record.created_at = before.created_at;
            if record == *before {
                return Ok((key, false));
            }
            store.put_key(&record).await?;
            if before.key_hash == record.key_hash {
                key.record.store(Arc::new(record));
                return Ok((key, false));
            }
            let usage = key.state().usage.clone();
            key.revoked.cancel();
            self.revoke_left(&record.name).await;
            let renewed = Key::new(record, usage);
            self.write(|index| {
                index.by_hash.remove(&before.key_hash);
                insert(index, &renewed);
            });
            return Ok((renewed, false));
        }
        if count >= MAX_KEYS {
            return Err(RegistryError::Full);
        }
        store.put_key(&record).await?;
        let key = Key::new(record, Usage::default());
        self.write(|index| insert(index, &key));
        Ok((key, true))
    }

    /// Deletes a key: refused from now on, its streams end, and it is off the disk when this returns. False if there is none.
    pub async fn remove(&self, name: &KeyName) -> Result<bool, RegistryError> {
        let _turn = self.turn().await?;
        let gone = self.write(|index| {
            let key = index.by_name.remove(name)?;
            index.by_hash.remove(&key.record().key_hash);
            Some(key)
        });
        if let Some(key) = &gone {
            key.revoked.cancel();
        }
        self.revoke_left(name).await;
        // Also when it is unknown here: an earlier attempt may have failed at the disk. One that ends only ends the key's streams.
        if let Some(store) = self.own_store() {
            store.remove_key(name.as_str()).await?;
        }
        Ok(gone.is_some())
    }

    /// Lets a request through or refuses it, and reserves `nano` billionths of a dollar for it.
    pub fn begin(self: &Arc<Self>, key: &Arc<Key>, nano: u64) -> Result<Ticket, Refusal> {
        let record = key.record();
        let permissions = &record.permissions;
        let now = OffsetDateTime::now_utc();
        let id = self.reservations.fetch_add(1, Ordering::Relaxed);
        let mut state = key.state();
        if self.closing.load(Ordering::Acquire) {
            let text = "this octo-eavs is ending and the next one starts: try again";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ending", text).after(1));
        }
        if state.streams >= MAX_STREAMS_PER_KEY {
            let text = format!("{MAX_STREAMS_PER_KEY} requests are under way with this key: wait for one to end");
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", text).after(1));
        }
        state.usage.roll(permissions.budget_window, now);
        if let Some(budget) = permissions.max_budget_usd
            && state.usage.committed() as f64 >= budget * 1e9
        {
            let text = format!(
                "the budget of this session's key is used up: ${:.4} of ${budget:.2} are spent and ${:.4} reserved for requests under way; raise the budget or wait for its next window",
                state.usage.window_nano as f64 / 1e9,
                state.usage.reserved.values().sum::<u64>() as f64 / 1e9,
            );
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "budget_exceeded", text));
        }
        if let Some(rpm) = permissions.rpm {
            let rpm = f64::from(rpm);
            let elapsed = state.filled.elapsed().as_secs_f64();
            state.filled = Instant::now();
            state.bucket = (state.bucket + elapsed * rpm / 60.0).min(rpm);
            if state.bucket < 1.0 {
                let wait = if rpm > 0.0 { ((1.0 - state.bucket) * 60.0 / rpm).ceil() as u64 } else { 60 };
                let text = format!("this key may send {rpm} requests per minute: wait {wait} s");
                return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", text).after(wait));
            }
            state.bucket -= 1.0;
        }
        state.streams += 1;
        state.usage.requests += 1;
        state.usage.last_request = Some(now.unix_timestamp());
        // Also of a request that costs nothing: it may be for another process to settle.
        state.usage.reserved.insert(id, nano);
        self.save(key, &state.usage);
        drop(state);
        Ok(Ticket { registry: Arc::clone(self), key: Arc::clone(key), id, settled: false })
    }

    /// Writes the counters that found no room, when there is some again.
    pub fn catch_up(&self) {
        let has_room = match &*self.books.read().unwrap_or_else(PoisonError::into_inner) {
            Books::Own(store) => store.has_room(),
            // What waits there is tried again with whatever comes, and at the end.
            Books::Left(_) => false,
        };
        if !has_room || !self.missed.swap(false, Ordering::AcqRel) {
            return;
        }
        for key in self.list() {
            self.save(&key, &key.state().usage);
        }
        if !self.missed.load(Ordering::Acquire) {
            tracing::info!("the counters that found no room are in the store");
        }
    }

    /// Waits until all counters are on the disk.
    ///
    /// # Errors
    /// The store's; `Full` as well when some counters have found no room yet.
    pub async fn flush(&self) -> Result<(), StoreError> {
        if let Some(store) = self.own_store() {
            return self.flush_to(&store).await;
        }
        match &*self.books.read().unwrap_or_else(PoisonError::into_inner) {
            Books::Left(Some(leaving)) => leaving.sync().map_err(|e| StoreError::Left(e.to_string())),
            Books::Own(_) | Books::Left(None) => Ok(()),
        }
    }

    pub(crate) async fn flush_to(&self, store: &Store) -> Result<(), StoreError> {
        self.catch_up();
        store.flush().await?;
        if self.missed.load(Ordering::Acquire) { Err(StoreError::Full(store.path().to_owned())) } else { Ok(()) }
    }

    pub(crate) fn save(&self, key: &Key, usage: &Usage) {
        if let Books::Own(store) = &*self.books.read().unwrap_or_else(PoisonError::into_inner) {
            self.save_to(store, key, usage);
        }
    }

    fn save_to(&self, store: &Store, key: &Key, usage: &Usage) {
        // A deleted key must not come back as an entry of the usage tree.
        if key.revoked.is_cancelled() {
            return;
        }
        let record = key.record();
        match store.put_usage(record.name.as_str(), usage) {
            Ok(()) => {}
            // Said once; every request would say it again.
            Err(StoreError::Full(path)) => {
                if !self.missed.swap(true, Ordering::AcqRel) {
                    let error = StoreError::Full(path);
                    tracing::error!(key = %record.name, %error, "usage is counted in memory until there is room");
                }
            }
            Err(error) => tracing::error!(key = %record.name, %error, "usage was counted in memory only"),
        }
    }

    fn read<T>(&self, f: impl FnOnce(&Index) -> T) -> T {
        f(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut Index) -> T) -> T {
        f(&mut self.index.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn insert(index: &mut Index, key: &Arc<Key>) {
    let record = key.record();
    index.by_hash.insert(record.key_hash, Arc::clone(key));
    index.by_name.insert(record.name.clone(), Arc::clone(key));
}

/// Counts what a request used, which is not reserved any more then.
pub(crate) fn count(usage: &mut Usage, window: BudgetWindow, id: u64, used: &Settlement) {
    usage.roll(window, OffsetDateTime::now_utc());
    usage.reserved.remove(&id);
    usage.add(used.tokens, used.nano);
    usage.failed += u64::from(used.failed);
    usage.estimated += u64::from(used.estimated);
    usage.unpriced += u64::from(used.unpriced);
}

/// How a request ended, for its key's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// What it used.
    pub tokens: Tokens,
    /// What that costs, in billionths of a dollar.
    pub nano: u64,
    /// It failed or was cut.
    pub failed: bool,
    /// The counts are estimates.
    pub estimated: bool,
    /// The model has no price.
    pub unpriced: bool,
}

/// A request that was let through. Dropped unsettled (it never reached the provider), it only releases its reservation.
#[derive(Debug)]
pub struct Ticket {
    registry: Arc<Registry>,
    key: Arc<Key>,
    id: u64,
    settled: bool,
}

impl Ticket {
    /// Counts what the request used and releases its reservation.
    pub fn settle(mut self, s: Settlement) {
        self.finish(s);
    }

    fn finish(&mut self, s: Settlement) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let mut state = self.key.state();
        let window = self.key.record().permissions.budget_window;
        state.streams = state.streams.saturating_sub(1);
        count(&mut state.usage, window, self.id, &s);
        match &*self.registry.books.read().unwrap_or_else(PoisonError::into_inner) {
            Books::Own(store) => self.registry.save_to(store, &self.key, &state.usage),
            Books::Left(leaving) => {
                let settled = Settled { key: self.key.record().name.clone(), id: self.id, used: s };
                leaving.iter().for_each(|leaving| leaving.settle(&settled));
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.finish(Settlement { failed: true, ..Settlement::default() });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::{Permissions, VirtualKey};

    fn record(name: &str, secret: &VirtualKey, permissions: Permissions) -> KeyRecord {
        KeyRecord {
            name: KeyName::parse(name).unwrap(),
            key_hash: secret.hash(),
            created_at: OffsetDateTime::now_utc(),
            expires_at: None,
            permissions,
            metadata: serde_json::Map::new(),
        }
    }

    fn registry(dir: &tempfile::TempDir) -> Arc<Registry> {
        Arc::new(Registry::open(Store::open(dir.path()).unwrap()).unwrap())
    }

    #[tokio::test]
    async fn parallel_requests_cannot_pass_a_budget_unseen() {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(&dir);
        let secret = VirtualKey::generate().unwrap();
        let budget = Permissions { max_budget_usd: Some(1.0), ..Permissions::default() };
        let (key, _) = registry.put(record("s", &secret, budget)).await.unwrap();
        let first = registry.begin(&key, 600_000_000).unwrap();
        let second = registry.begin(&key, 600_000_000).unwrap();
        let refused = registry.begin(&key, 1).unwrap_err();
        assert_eq!(refused.code, "budget_exceeded");
        drop(first);
        let third = registry.begin(&key, 600_000_000).unwrap();
        for ticket in [second, third] {
            ticket.settle(Settlement { nano: 500_000_000, ..Settlement::default() });
        }
        assert_eq!(registry.begin(&key, 1).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(key.view()["usage"]["total_spend_usd"], 1.0);
    }

    #[tokio::test]
    async fn keys_and_counters_survive_and_open_reservations_count_as_spent() {
        let dir = tempfile::tempdir().unwrap();
        let secret = VirtualKey::generate().unwrap();
        {
            let registry = registry(&dir);
            let (key, new) = registry.put(record("s/1", &secret, Permissions::default())).await.unwrap();
            assert!(new);
            let ticket = registry.begin(&key, 7_000).unwrap();
            registry.flush().await.unwrap();
            // As kill -9 would: the ticket is never settled and keeps the store open no longer than the scope.
            let mut ticket = ticket;
            ticket.settled = true;
        }
        let registry = registry(&dir);
        let key = registry.find(secret.reveal()).unwrap();
        let usage = &key.view()["usage"];
        assert_eq!(usage["total_spend_usd"], 0.000_007);
        assert_eq!(usage["reserved_usd"], 0.0);
        assert!(registry.find("eavs-other").is_none());
    }

    #[tokio::test]
    async fn a_new_secret_ends_the_old_one_and_a_taken_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(&dir);
        let (a, b) = (VirtualKey::generate().unwrap(), VirtualKey::generate().unwrap());
        let (old, _) = registry.put(record("x", &a, Permissions::default())).await.unwrap();
        let (same, new) = registry.put(record("x", &a, Permissions::default())).await.unwrap();
        assert!(!new && Arc::ptr_eq(&old, &same), "idempotent");
        let (_, new) = registry.put(record("x", &b, Permissions::default())).await.unwrap();
        assert!(!new && old.revoked().is_cancelled());
        assert!(registry.find(a.reveal()).is_none() && registry.find(b.reveal()).is_some());
        assert!(matches!(registry.put(record("y", &b, Permissions::default())).await, Err(RegistryError::HashTaken)));
        assert!(registry.remove(&KeyName::parse("x").unwrap()).await.unwrap());
        assert!(!registry.remove(&KeyName::parse("x").unwrap()).await.unwrap());
        assert!(registry.find(b.reveal()).is_none());
    }

    #[tokio::test]
    async fn requests_per_minute_are_a_bucket() {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(&dir);
        let secret = VirtualKey::generate().unwrap();
        let two = Permissions { rpm: Some(2), ..Permissions::default() };
        let (key, _) = registry.put(record("r", &secret, two)).await.unwrap();
        drop(registry.begin(&key, 0).unwrap());
        drop(registry.begin(&key, 0).unwrap());
        let refused = registry.begin(&key, 0).unwrap_err();
        assert_eq!(refused.code, "rate_limit_exceeded");
        assert!(refused.retry_after.is_some_and(|s| (1..=30).contains(&s)));
    }
}
