//! The file: a gzipped tar, made new, readable by its owner alone.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::exit::{Exit, Failure};

/// Largest part; a longer one is cut, and says so.
pub const MAX_PART_BYTES: usize = 8 * 1024 * 1024;
/// The folder that the parts lie in.
const FOLDER: &str = "octo-bundle";
/// Of each part, and of the file itself.
const MODE: u32 = 0o600;

/// A bundle that is being written.
pub struct Archive {
    tar: tar::Builder<GzEncoder<File>>,
    path: PathBuf,
    parts: Vec<String>,
}

impl Archive {
    /// A new file at `path`.
    ///
    /// # Errors
    /// When something is there already, or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::options().write(true).create_new(true).mode(MODE).open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::new(Exit::Refused, format!("{} is there already: choose another name, a bundle replaces nothing", path.display()))
            }
            _ => failed(path, &error),
        })?;
        let tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        Ok(Self { tar, path: path.to_owned(), parts: Vec::new() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a part.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let mut part = bytes.get(..MAX_PART_BYTES).unwrap_or(bytes).to_vec();
        if part.len() < bytes.len() {
            part.extend_from_slice(format!("\n[cut here: {} bytes in all]\n", bytes.len()).as_bytes());
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(part.len() as u64);
        header.set_mode(MODE);
        header.set_mtime(crate::show::now_ms().unsigned_abs() / 1000);
        self.tar.append_data(&mut header, format!("{FOLDER}/{name}"), part.as_slice()).map_err(|error| failed(&self.path, &error))?;
        self.parts.push(name.to_owned());
        Ok(())
    }

    /// Writes what is left; the parts, and the bytes of the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<(Vec<String>, u64), Failure> {
        let done = self.tar.into_inner().and_then(GzEncoder::finish).and_then(|file| file.sync_all().map(|()| file));
        let bytes = done.and_then(|file| file.metadata()).map_err(|error| failed(&self.path, &error))?.len();
        Ok((self.parts, bytes))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::other(format!("{} cannot be written: {error}", path.display()))
}
