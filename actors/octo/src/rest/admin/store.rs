//! `/api/admin/store`: what octo owns on disk, out and in. It holds secrets: hashes of passwords, keys of sessions, what signs log ins.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::header;
use octo_protocol::admin::{Imported, StoreEntry, StoreHead};

use super::super::error::ApiError;
use super::record::record;
use crate::auth::{Action, Object, Principal, authorize};
use crate::state::AppState;
use crate::store::SCHEMA_VERSION;
use crate::users::now_ms;

/// Largest store that is taken in, in bytes of its export.
pub const MAX_IMPORT_BYTES: usize = 256 * 1024 * 1024;

/// Everything in the store: a head, then an entry a line.
#[utoipa::path(get, path = "/admin/store/export", tag = "admin",
    responses((status = 200, body = String, content_type = "application/x-ndjson"), (status = 401, body = ApiError), (status = 403, body = ApiError)))]
pub async fn export(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Response, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let outcome = lines(&state).await;
    record(&state, &principal, "store.export", "store", &outcome).await;
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, outcome?).into_response())
}

/// Puts an exported store in the place of the one there is: all of it, or nothing.
#[utoipa::path(post, path = "/admin/store/import", tag = "admin", request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, body = Object), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 507, body = ApiError)))]
pub async fn import(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Result<Json<Imported>, ApiError> {
    authorize(&principal, Action::Write, &Object::Operations)?;
    let outcome = take_in(&state, &body).await;
    record(&state, &principal, "store.import", "store", &outcome).await;
    outcome.map(Json)
}

async fn lines(state: &AppState) -> Result<Vec<u8>, ApiError> {
    let store = state.store.clone();
    let entries = tokio::task::spawn_blocking(move || store.export()).await.map_err(|e| ApiError::internal(&e))??;
    let head =
        StoreHead { octo_store: SCHEMA_VERSION, version: crate::VERSION.to_owned(), exported_at: now_ms(), entries: entries.len() as u64 };
    let mut text = Vec::new();
    let mut put = |line: serde_json::Result<Vec<u8>>| -> Result<(), ApiError> {
        text.extend(line.map_err(|e| ApiError::internal(&e))?);
        text.push(b'\n');
        Ok(())
    };
    put(serde_json::to_vec(&head))?;
    for entry in &entries {
        put(serde_json::to_vec(entry))?;
    }
    Ok(text)
}

async fn take_in(state: &AppState, body: &[u8]) -> Result<Imported, ApiError> {
    let mut lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let head = lines.next().and_then(|line| serde_json::from_slice::<StoreHead>(line).ok());
    let head = head.ok_or_else(|| {
        ApiError::bad_request("this is no exported store: its first line does not say so (`octoctl store export` makes one)")
    })?;
    if head.octo_store != SCHEMA_VERSION {
        return Err(ApiError::bad_request(format!(
            "the store was exported from schema {}, and this octo writes schema {SCHEMA_VERSION}: import it with octo {} and upgrade that one",
            head.octo_store, head.version
        )));
    }
    let mut entries: Vec<StoreEntry> = Vec::new();
    for (number, line) in lines.enumerate() {
        // Never quoted: it may be a secret.
        let entry =
            serde_json::from_slice(line).map_err(|_| ApiError::bad_request(format!("line {} is no entry of a store", number + 2)))?;
        entries.push(entry);
    }
    if entries.len() as u64 != head.entries {
        return Err(ApiError::bad_request(format!("{} of its {} entries are there: the file is cut off", entries.len(), head.entries)));
    }
    state.accounts.import(entries).await.map_err(|error| match error {
        crate::store::StoreError::Record(what) => ApiError::bad_request(format!("the store cannot be taken in: {what}")),
        error => error.into(),
    })
}
