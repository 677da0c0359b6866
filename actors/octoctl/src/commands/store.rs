//! `octoctl store`

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use futures_util::StreamExt;
use octo_protocol::admin::{Imported, StoreHead};
use serde_json::json;

use super::Asking;
use crate::arguments::Store;
use crate::exit::{Exit, Failure};

/// Largest file that is sent, in bytes; octo takes no larger one.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

pub async fn run(asking: &Asking, command: Store) -> Result<(), Failure> {
    match command {
        Store::Export { file } => export(asking, &file).await,
        Store::Import { file, yes } => import(asking, &file, yes).await,
    }
}

async fn export(Asking { client, output }: &Asking, path: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::Refused, format!("{} is there already: choose another name, an export replaces nothing", path.display()))
        }
        _ => Failure::other(format!("{} cannot be written: {error}", path.display())),
    };
    let to_stdout = path == Path::new("-");
    // Before octo is asked: a file that is there already is somebody's backup.
    let mut file: Box<dyn Write + Send> = if to_stdout {
        Box::new(std::io::stdout())
    } else {
        Box::new(std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?)
    };
    let mut pieces = client.open("/store/export").await?.bytes_stream();
    let (mut bytes, mut lines) = (0u64, 0u64);
    while let Some(piece) = pieces.next().await {
        let piece = piece
            .map_err(|error| Failure::new(Exit::Later, format!("the export broke off, and {} is not whole: {error}", path.display())))?;
        file.write_all(&piece).map_err(failed)?;
        bytes += piece.len() as u64;
        lines += piece.iter().filter(|b| **b == b'\n').count() as u64;
    }
    file.flush().map_err(failed)?;
    if !to_stdout {
        let entries = lines.saturating_sub(1);
        let text =
            format!("{} are in {}; it holds secrets: hashes of passwords, keys, what signs log ins", entries_of(entries), path.display());
        output.say(&text, &json!({ "file": path, "entries": entries, "bytes": bytes }));
    }
    Ok(())
}

async fn import(Asking { client, output }: &Asking, path: &Path, yes: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("{} cannot be read: {error}", path.display()));
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut text)
    } else {
        std::fs::File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut text)
    };
    if read.map_err(failed)? as u64 > MAX_BYTES {
        return Err(Failure::new(Exit::Usage, format!("{} is larger than {MAX_BYTES} bytes, which octo does not take", path.display())));
    }
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let head: StoreHead = serde_json::from_slice(first)
        .map_err(|_| Failure::new(Exit::Usage, format!("{} is no exported store: `octoctl store export` makes one", path.display())))?;
    if !yes {
        let message =
            format!("{} would replace everything in octo's store, its accounts too: say --yes if that is wanted", entries_of(head.entries));
        return Err(Failure::new(Exit::Refused, message));
    }
    let done: Imported = client.send("/store/import", text).await?;
    let removed = if done.removed > 0 { format!(", {} that were there are gone", done.removed) } else { String::new() };
    let next = if done.restart_needed { "; restart octo now: log ins are signed with another secret from its next start on" } else { "" };
    output.say(&format!("{} are in octo's store{removed}{next}", entries_of(done.entries)), &done);
    Ok(())
}

fn entries_of(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}
