//! Files of the web application.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::rest::ApiError;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

const INDEX: &str = "index.html";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";
const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>octo</title><h1>octo runs without its web application</h1>\
<p>This octo was built before the web application was. Run <code>./setup.sh</code>, or <code>bun install && bun run build</code> in <code>web/</code>, and build octo again. \
The API is at <a href=\"/api/openapi.json\">/api/openapi.json</a>.</p></html>\n";

/// Answers whatever is not below `/api`.
pub async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    // A nested router does not see its own root.
    if uri.path() == "/api" || uri.path().starts_with("/api/") {
        return ApiError::new(StatusCode::NOT_FOUND, "octo has no such path; see /api/openapi.json").into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "pages take GET; the API is below /api\n").into_response();
    }
    let path = uri.path().trim_start_matches('/');
    if let Some(file) = Dist::get(if path.is_empty() { INDEX } else { path }) {
        return respond(path, &file, &headers);
    }
    // A missing script must not be answered with a page: the browser would try to run it.
    if path.starts_with("assets/") || path.rsplit('/').next().is_some_and(|name| name.contains('.')) {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    }
    match Dist::get(INDEX) {
        Some(page) => respond(INDEX, &page, &headers),
        None => (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], MISSING)
            .into_response(),
    }
}

fn respond(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let cache = if path.starts_with("assets/") { FOR_EVER } else { ASK_AGAIN };
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let mut known = known.map(|tag| tag.trim().trim_start_matches("W/"));
    let mut response = if known.any(|tag| tag == etag || tag == "*") {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mime = file.metadata.mimetype();
        let mime =
            if mime.starts_with("text/") || mime.ends_with("javascript") { format!("{mime}; charset=utf-8") } else { mime.to_owned() };
        ([(header::CONTENT_TYPE, mime)], file.data.clone().into_owned()).into_response()
    };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(header::ETAG, etag);
    }
    response
}
