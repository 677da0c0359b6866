//! The first credentials: made once, shown once, kept in a file that only octo's user can read, until the password is changed.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the first account.
pub const USERNAME: &str = "admin";

/// Made at first start.
#[derive(Clone)]
pub struct InitialAdmin {
    /// Who logs in.
    pub username: String,
    /// With what.
    pub password: String,
    /// Where both are kept.
    pub path: PathBuf,
}

impl std::fmt::Debug for InitialAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InitialAdmin").field("username", &self.username).field("path", &self.path).finish_non_exhaustive()
    }
}

impl InitialAdmin {
    /// Makes credentials and writes them to `path` (0600), whole or not at all.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        let made = Self { username: USERNAME.to_owned(), password: password(), path: path.to_owned() };
        let temporary = path.with_extension("new");
        match std::fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        write!(file, "username={}\npassword={}\n", made.username, made.password)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        Ok(made)
    }

    /// The password was changed: the file says something untrue now.
    pub(super) fn forget(path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// 20 characters that are not mistaken for each other, in groups; a little under 100 bits.
fn password() -> String {
    const ALPHABET: &[u8; 30] = b"abcdefghjkmnpqrstuvwxyz2345678";
    let mut random = rand::rng();
    let letters: Vec<char> = (0..20).map(|_| char::from(ALPHABET[rand::Rng::random_range(&mut random, 0..ALPHABET.len())])).collect();
    letters.chunks(5).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}
