//! `/api/admin/logs`: the logs of octo's own processes.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use octo_protocol::admin::{LogFile, LogFiles, LogText};
use serde::Deserialize;

use super::super::error::ApiError;
use super::super::extract::{Query, Segment};
use super::record::record;
use crate::auth::{Action, Object, Principal, authorize};
use crate::config::Settings;
use crate::state::AppState;

/// Lines of one answer, when nobody says how many, and at most.
const LINES: usize = 100;
const MAX_LINES: usize = 10_000;
/// Bytes that are looked at for one answer.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Files that are listed.
const MAX_FILES: usize = 10_000;

/// Which part of a log.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// The newest so many lines.
    lines: Option<usize>,
    /// Only what is behind this place, `next` of an answer before.
    after: Option<u64>,
}

/// The logs there are.
#[utoipa::path(get, path = "/admin/logs", tag = "admin",
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError)))]
pub async fn list(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Json<LogFiles>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let settings = std::sync::Arc::clone(&state.settings);
    let found = tokio::task::spawn_blocking(move || files(&settings)).await.map_err(|e| ApiError::internal(&e))?;
    Ok(Json(LogFiles { files: found.into_iter().map(|(file, _)| file).collect() }))
}

/// The end of a log.
#[utoipa::path(get, path = "/admin/logs/{name}", tag = "admin", params(("name" = String, Path, description = "as it is listed"), LogQuery),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError)))]
pub async fn one(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(name): Segment<String>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogText>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let settings = std::sync::Arc::clone(&state.settings);
    let (wanted, goes_on) = (name.clone(), query.after.is_some());
    let read = tokio::task::spawn_blocking(move || {
        let path = files(&settings).into_iter().find(|(file, _)| file.name == wanted).map(|(_, path)| path);
        let path = path.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "there is no such log; `octoctl logs` lists them"))?;
        text(wanted, &path, query).map_err(|error| ApiError::internal(&format!("{}: {error}", path.display())))
    });
    let outcome = read.await.map_err(|e| ApiError::internal(&e))?;
    // Whoever goes on was written down when they began.
    if !goes_on {
        record(&state, &principal, "logs.read", &name, &outcome).await;
    }
    outcome.map(Json)
}

/// Every log by its name. A name is only ever compared with these, never made into a path.
fn files(settings: &Settings) -> Vec<(LogFile, PathBuf)> {
    let entries = std::fs::read_dir(settings.paths.logs_dir()).into_iter().flatten().flatten().take(MAX_FILES);
    let mut paths: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect();
    if let Some(path) = &settings.logging.file {
        paths.retain(|(name, _)| name != "octo");
        paths.push(("octo".to_owned(), path.clone()));
    }
    paths.sort();
    let file = |(name, path): (String, PathBuf)| {
        let meta = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        let changed = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let changed_at = changed.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Some((LogFile { name, path: path.display().to_string(), bytes: meta.len(), changed_at }, path))
    };
    paths.into_iter().filter_map(file).collect()
}

fn text(name: String, path: &Path, query: LogQuery) -> std::io::Result<LogText> {
    let mut file = std::fs::File::open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    // A place beyond the end is of a log that was begun anew.
    let after = query.after.filter(|after| *after <= end);
    let from = after.unwrap_or(0).max(end.saturating_sub(MAX_BYTES));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    // A line that is being written is told when it is whole.
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let next = from + whole as u64;
    let lines = String::from_utf8_lossy(&bytes[..whole]);
    let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    let cut = from > after.unwrap_or(0);
    if cut && !lines.is_empty() {
        // It begins in the middle.
        lines.remove(0);
    }
    let keep = query.lines.unwrap_or(if after.is_some() { MAX_LINES } else { LINES }).min(MAX_LINES);
    let over = lines.len().saturating_sub(keep);
    lines.drain(..over);
    Ok(LogText { name, lines, has_more: cut || over > 0, next })
}
