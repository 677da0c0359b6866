//! The whole store as entries that a person can read and another octo can take in.

use std::collections::BTreeMap;

use octo_protocol::admin::{Imported, StoreEntry};
use serde_json::Value;
use sled::Transactional;
use sled::transaction::{ConflictableTransactionError, TransactionError};

use super::account::Account;
use super::error::StoreError;
use super::trees::{JWT_SECRET, Provisioned, Store, decode, text};

/// Trees in the order of an export.
const ACCOUNTS: &str = "accounts";
const USERNAMES: &str = "usernames";
const REVOKED: &str = "revoked_tokens";
const PROVISIONS: &str = "provisions";
const SECRETS: &str = "secrets";

impl Store {
    /// Every entry, tree by tree, in order of key. Blocks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn export(&self) -> Result<Vec<StoreEntry>, StoreError> {
        let mut entries = Vec::new();
        for (name, tree) in self.trees() {
            for entry in tree {
                let (key, bytes) = entry?;
                let value = match name {
                    USERNAMES | SECRETS => Value::String(text(&bytes)?),
                    REVOKED => Value::from(bytes.as_ref().try_into().map(u64::from_be_bytes).unwrap_or(u64::MAX)),
                    _ => decode(&bytes)?,
                };
                entries.push(StoreEntry { tree: name.to_owned(), key: text(&key)?, value });
            }
        }
        Ok(entries)
    }

    /// Puts `entries` in the place of everything there is, in one transaction; on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Record`] when they are no store of octo's: nothing was changed then.
    pub async fn import(&self, entries: Vec<StoreEntry>) -> Result<Imported, StoreError> {
        self.room()?;
        let count = entries.len() as u64;
        let wanted = checked(entries)?;
        let secret = wanted.get(SECRETS).and_then(|secrets| secrets.get(JWT_SECRET));
        let restart_needed = secret.map(Vec::as_slice) != self.secret(JWT_SECRET)?.as_deref();
        let (mut batches, mut removed) = (Vec::new(), 0);
        for (name, tree) in self.trees() {
            let mut batch = sled::Batch::default();
            let none = BTreeMap::new();
            let tree_wanted = wanted.get(name).unwrap_or(&none);
            for key in tree.iter().keys() {
                let key = key?;
                if !tree_wanted.contains_key(&text(&key)?) {
                    batch.remove(key);
                    removed += 1;
                }
            }
            for (key, value) in tree_wanted {
                batch.insert(key.as_str(), value.as_slice());
            }
            batches.push(batch);
        }
        let trees = self.trees().map(|(_, tree)| tree);
        trees
            .as_slice()
            .transaction(|trees| {
                for (tree, batch) in trees.iter().zip(&batches) {
                    tree.apply_batch(batch)?;
                }
                Ok::<_, ConflictableTransactionError<()>>(())
            })
            .map_err(|error| match error {
                TransactionError::Abort(()) => StoreError::Conflict,
                TransactionError::Storage(error) => error.into(),
            })?;
        self.flush().await?;
        Ok(Imported { entries: count, removed, restart_needed })
    }
}

/// Entries as their trees keep them, once it is sure that they can be read again. Messages name a key and never a value.
fn checked(entries: Vec<StoreEntry>) -> Result<BTreeMap<&'static str, BTreeMap<String, Vec<u8>>>, StoreError> {
    let mut trees: BTreeMap<&'static str, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for StoreEntry { tree, key, value } in entries {
        let bad = |what: &str| StoreError::Record(format!("{tree}/{key} {what}"));
        let json = || serde_json::to_vec(&value).map_err(|_| bad("cannot be written"));
        let string = || value.as_str().map(|text| text.as_bytes().to_vec()).ok_or_else(|| bad("is no text"));
        let (name, bytes) = match tree.as_str() {
            ACCOUNTS => {
                let account: Account = serde_json::from_value(value.clone()).map_err(|_| bad("is no account"))?;
                if account.id.as_str() != key {
                    return Err(bad("is the account of somebody else"));
                }
                (ACCOUNTS, json()?)
            }
            PROVISIONS => {
                serde_json::from_value::<Provisioned>(value.clone()).map_err(|_| bad("is no key of a session"))?;
                (PROVISIONS, json()?)
            }
            USERNAMES => (USERNAMES, string()?),
            SECRETS => (SECRETS, string()?),
            REVOKED => (REVOKED, value.as_u64().ok_or_else(|| bad("is no time"))?.to_be_bytes().to_vec()),
            _ => return Err(StoreError::Record(format!("there is no tree {tree:?} in a store of this version"))),
        };
        if trees.entry(name).or_default().insert(key.clone(), bytes).is_some() {
            return Err(StoreError::Record(format!("{tree}/{key} is there twice")));
        }
    }
    let accounts = trees.get(ACCOUNTS).ok_or_else(|| StoreError::Record("no account is in it: nobody could log in".to_owned()))?;
    for (name, id) in trees.get(USERNAMES).into_iter().flatten() {
        if !accounts.keys().any(|known| known.as_bytes() == id.as_slice()) {
            return Err(StoreError::Record(format!("the name {name} belongs to no account")));
        }
    }
    Ok(trees)
}
