//! The inputs that are kept, in `fuzz/corpus/TARGET`.

use std::path::{Path, PathBuf};

/// Where the inputs of `target` are.
#[must_use]
pub fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs of `target` with their names, in order.
///
/// # Errors
/// What the system says when they cannot be read.
pub fn load(target: &str) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(directory(target))? {
        let entry = entry?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}
