//! Opening: the lock, the version, migrations with a backup, damage.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::schema::{META, MIGRATIONS, Migration, SCHEMA_VERSION, VERSION_KEY};
use octo_actors::room::has_room;

/// Memory that sled may use for pages, in bytes.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Opens the store in `dir`, making or migrating it. Blocks.
pub(super) fn open(dir: &Path) -> Result<sled::Db, StoreError> {
    open_as(dir, SCHEMA_VERSION, MIGRATIONS)
}

fn open_as(dir: &Path, known: u32, migrations: &[Migration]) -> Result<sled::Db, StoreError> {
    // sled starts anew over a log that it cannot read; a store that was there and is empty now is damaged, not new.
    let existed = std::fs::metadata(dir.join("db")).is_ok_and(|m| m.len() > 0);
    let db = open_db(dir)?;
    let found = version(dir, &db)?;
    match found {
        None if existed => Err(StoreError::Corrupt { path: dir.to_owned(), reason: "it has no schema version".to_owned() }),
        None => {
            write_version(dir, &db, known)?;
            Ok(db)
        }
        Some(found) if found == known => Ok(db),
        Some(found) if found > known => Err(StoreError::Newer { path: dir.to_owned(), found, known }),
        Some(found) => {
            drop(db);
            back_up(dir, found)?;
            let db = open_db(dir)?;
            let first = usize::try_from(found).unwrap_or(usize::MAX);
            for step in migrations.iter().skip(first) {
                step(&db).map_err(|reason| StoreError::Corrupt {
                    path: dir.to_owned(),
                    reason: format!("it could not be migrated: {reason}"),
                })?;
            }
            write_version(dir, &db, known)?;
            Ok(db)
        }
    }
}

/// sled panics on some kinds of damage; a panic here is damage too.
fn open_db(dir: &Path) -> Result<sled::Db, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt { path: dir.to_owned(), reason };
    // Recovery writes; where it cannot, it leaves a store that it calls damaged the next time.
    if dir.exists() && !has_room(dir) {
        return Err(StoreError::Full(dir.to_owned()));
    }
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let db = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).mode(sled::Mode::LowSpace).flush_every_ms(Some(500)).open()?;
        // Reads every tree once, so that damage shows now and not in a request.
        for name in db.tree_names() {
            for entry in &db.open_tree(name)? {
                entry?;
            }
        }
        Ok::<_, sled::Error>(db)
    }));
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if is_lock(&error) => Err(StoreError::InUse(dir.to_owned())),
        Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(StoreError::Io(format!("{} belongs to another user or is read-only: {error}", dir.display())))
        }
        // A store is not damaged because its disk is full: whoever moved it away then would lose it.
        Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::StorageFull => Err(StoreError::Full(dir.to_owned())),
        Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::QuotaExceeded => Err(StoreError::Full(dir.to_owned())),
        Err(_) | Ok(Err(_)) if !has_room(dir) => Err(StoreError::Full(dir.to_owned())),
        Ok(Err(error)) => Err(corrupt(error.to_string())),
        Err(panic) => Err(corrupt(
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default(),
        )),
    }
}

fn is_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

fn version(dir: &Path, db: &sled::Db) -> Result<Option<u32>, StoreError> {
    let Some(bytes) = db.open_tree(META)?.get(VERSION_KEY)? else { return Ok(None) };
    let bytes: [u8; 4] = bytes
        .as_ref()
        .try_into()
        .map_err(|_| StoreError::Corrupt { path: dir.to_owned(), reason: "its schema version is no number".to_owned() })?;
    Ok(Some(u32::from_be_bytes(bytes)))
}

fn write_version(dir: &Path, db: &sled::Db, version: u32) -> Result<(), StoreError> {
    if !has_room(dir) {
        return Err(StoreError::Full(dir.to_owned()));
    }
    db.open_tree(META)?.insert(VERSION_KEY, &version.to_be_bytes())?;
    db.flush()?;
    Ok(())
}

/// Copies the closed store to `<dir>.v<version>`; an older backup of the same version stays what it is.
fn back_up(dir: &Path, version: u32) -> Result<PathBuf, StoreError> {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".v{version}"));
    let to = PathBuf::from(name);
    if !to.exists() {
        copy_dir(dir, &to).map_err(|e| StoreError::Io(format!("the backup {} could not be made: {e}", to.display())))?;
    }
    Ok(to)
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    crate::paths::private_dir(to).map_err(io::Error::other)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_opening_of_one_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = open(dir.path()).unwrap();
        assert!(matches!(open(dir.path()), Err(StoreError::InUse(_))));
    }

    #[test]
    fn a_newer_store_is_refused_with_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        drop(open_as(dir.path(), 7, &[]).unwrap());
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("version 7") && error.contains("newer octo"), "{error}");
    }

    #[test]
    fn an_older_store_is_migrated_and_a_backup_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        let db = open_as(&store, 1, &[]).unwrap();
        db.open_tree("accounts").unwrap().insert("a", "old").unwrap();
        drop(db);
        fn step(db: &sled::Db) -> Result<(), String> {
            db.open_tree("accounts").and_then(|t| t.insert("a", "new")).map(|_| ()).map_err(|e| e.to_string())
        }
        let db = open_as(&store, 2, &[|_| Err("step of another version".into()), step]).unwrap();
        assert_eq!(db.open_tree("accounts").unwrap().get("a").unwrap().unwrap(), "new");
        drop(db);
        let backup = open_as(&dir.path().join("store.v1"), 1, &[]).unwrap();
        assert_eq!(backup.open_tree("accounts").unwrap().get("a").unwrap().unwrap(), "old");
    }

    #[test]
    fn a_damaged_store_is_refused_and_says_what_to_do() {
        for fill in [b'g', 0u8] {
            let dir = tempfile::tempdir().unwrap();
            let db = open(dir.path()).unwrap();
            db.open_tree("accounts").unwrap().insert("a", "kept").unwrap();
            drop(db);
            let length = std::fs::metadata(dir.path().join("db")).unwrap().len();
            std::fs::write(dir.path().join("db"), vec![fill; usize::try_from(length).unwrap()]).unwrap();
            for entry in std::fs::read_dir(dir.path()).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap().to_string_lossy().starts_with("snap") {
                    std::fs::write(path, b"garbage").unwrap();
                }
            }
            let error = open(dir.path()).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
            assert!(error.to_string().contains("restore a backup"), "{error}");
        }
    }
}
