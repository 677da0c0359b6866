//! The admin door: the same answers over the admin socket and over HTTP, to admins alone, and a record of what they did.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use octo::auth::SocketPeer;
use octo::rest::{Policy, table};
use serde_json::{Value, json};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use support::Instance;
use tokio::net::UnixStream;
use tower::ServiceExt;

/// One request through a Unix socket: the status, and the answer.
async fn through(socket: &Path, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> (u16, Value) {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let response = sender.send_request(request.body(Full::new(bytes)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&text).unwrap_or_default())
}

#[tokio::test]
async fn the_socket_and_a_token_get_the_same_answers() {
    let octo = Instance::new().await;
    let token = octo.token().await;
    let socket = octo.octo.admin_socket().await.unwrap();
    let path = socket.path().to_owned();
    let meta = std::fs::metadata(&path).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o660);
    let stop = octo.octo.shutdown();
    let serving = tokio::spawn(socket.serve(octo.octo.router(), stop.clone(), Duration::from_secs(5)));
    for at in [
        "/api/admin/users",
        "/api/admin/users/admin",
        "/api/admin/users/nobody",
        "/api/admin/runners",
        "/api/admin/logs",
        "/api/admin/sessions",
    ] {
        let local = through(&path, "GET", at, None, None).await;
        let http = octo.request("GET", at).token(&token).send().await;
        assert_eq!(local, (http.status, http.body.clone()), "{at}");
    }
    let rows = |answer: &Value| answer["rows"].as_array().unwrap().iter().map(|row| row["path"].clone()).collect::<Vec<_>>();
    let local = through(&path, "GET", "/api/admin/actors", None, None).await;
    let http = octo.request("GET", "/api/admin/actors").token(&token).send().await;
    assert_eq!((local.0, rows(&local.1)), (200, rows(&http.body)));
    assert!(rows(&local.1).contains(&json!("/users")), "{}", local.1);
    // The socket has no account of its own; a token on it is a token.
    let (status, answer) = through(&path, "GET", "/api/me", None, None).await;
    assert_eq!((status, answer["code"].as_str()), (403, Some("FORBIDDEN")), "{answer}");
    assert_eq!(through(&path, "GET", "/api/me", Some(&token), None).await.0, 200);
    assert_eq!(through(&path, "GET", "/api/admin/users", Some("not-a-token"), None).await.0, 401);
    stop.cancel();
    serving.await.unwrap();
    assert!(!path.exists(), "its file goes with it");
}

#[tokio::test]
async fn a_socket_that_is_in_use_is_refused_and_one_that_is_left_over_is_replaced() {
    let octo = Instance::new().await;
    let first = octo.octo.admin_socket().await.unwrap();
    let path = first.path().to_owned();
    let refused = octo.octo.admin_socket().await.err().unwrap().to_string();
    assert!(refused.contains("server.admin_socket"), "{refused}");
    drop(first);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left over");
    drop(octo.octo.admin_socket().await.unwrap());
    std::fs::write(&path, "no socket").unwrap();
    let refused = octo.octo.admin_socket().await.err().unwrap().to_string();
    assert!(refused.contains("is no socket"), "{refused}");
}

#[tokio::test]
async fn whoever_the_kernel_does_not_name_as_an_admin_is_told_so_on_every_route() {
    let octo = Instance::new().await;
    for route in table().iter().filter(|route| route.policy == Policy::Admin) {
        let path = route.path.replace("{id}", "ses_1").replace("{user}", "admin").replace("{name}", "octo");
        let mut request = Request::builder()
            .method(route.method.as_str())
            .uri(format!("/api{path}"))
            .header("host", "localhost")
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(SocketPeer { uid: 4711, pid: None, admitted: false });
        let response = octo.octo.router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{}", route.path);
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&text).contains("uid 4711"), "{}", route.path);
    }
}

#[tokio::test]
async fn an_actor_is_looked_at_and_restarted_and_one_that_is_not_there_is_told_apart() {
    let octo = Instance::new().await;
    let token = octo.token().await;
    let inspect = async |path: &str| octo.request("GET", &format!("/api/admin/actors/inspect?path={path}")).token(&token).send().await;
    let restart =
        async |path: &str| octo.request("POST", "/api/admin/actors/restart").token(&token).json(&json!({ "path": path })).send().await;
    let seen = inspect("/users").await;
    assert_eq!((seen.status, &seen.body["row"]["restarts"]), (200, &json!(0)), "{}", seen.text);
    assert_eq!(restart("/users").await.status, 200);
    assert_eq!(inspect("/users").await.body["row"]["restarts"], 1);
    // It is written behind the answer.
    let entry = loop {
        let audit = std::fs::read_to_string(octo.file(".local/state/octo/audit.log.jsonl")).unwrap();
        let whole = audit.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        if let Some(entry) = whole.map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|entry| entry["event"] == "admin") {
            break entry;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&entry["action"], &entry["object"], &entry["success"]), (&json!("actor.restart"), &json!("/users"), &json!(true)));

    inspect("/nobody").await.refused(StatusCode::NOT_FOUND, "NOT_FOUND");
    let deep = inspect("/users/nobody/sessions/s").await;
    deep.refused(StatusCode::NOT_FOUND, "NOT_FOUND");
    assert!(deep.text.contains("/users is there"), "{}", deep.text);
    inspect("nonsense").await.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    restart("/").await.refused(StatusCode::CONFLICT, "CONFLICT");
    restart("/nobody").await.refused(StatusCode::NOT_FOUND, "NOT_FOUND");
    inspect("/users/admin/runner/history").await.refused(StatusCode::NOT_FOUND, "NOT_FOUND");
    // One that was there.
    let wake = octo.octo.state().users.user(&octo::auth::UserId::new("bob").unwrap()).await.unwrap();
    drop(wake);
    assert_eq!(octo.request("POST", "/api/admin/users/bob/sleep").token(&token).send().await.body["was_awake"], true);
    let gone = inspect("/users/bob").await;
    gone.refused(StatusCode::GONE, "GONE");
    restart("/users/bob").await.refused(StatusCode::GONE, "GONE");
}

#[tokio::test]
async fn a_store_that_is_exported_is_taken_in_whole_or_not_at_all() {
    let octo = Instance::new().await;
    let token = octo.token().await;
    let exported = octo.request("GET", "/api/admin/store/export").token(&token).send().await;
    assert_eq!(exported.status, 200);
    let import = async |text: &str| octo.request("POST", "/api/admin/store/import").token(&token).body(text.to_owned()).send().await;
    let done = import(&exported.text).await;
    assert_eq!((done.status, &done.body["removed"], &done.body["restart_needed"]), (200, &json!(0), &json!(false)), "{}", done.text);
    assert_eq!(octo.request("GET", "/api/me").token(&token).send().await.status, 200, "nothing has changed");
    let lines: Vec<&str> = exported.text.lines().collect();
    for (bad, word) in [
        (lines[1..].join("\n"), "no exported store"),
        (lines[..lines.len() - 1].join("\n"), "cut off"),
        (exported.text.replace("\"octo_store\":1", "\"octo_store\":9"), "schema 9"),
        (exported.text.replace("\"tree\":\"usernames\"", "\"tree\":\"nonsense\""), "nonsense"),
        (exported.text.replace("\"tree\":\"accounts\"", "\"tree\":\"secrets\""), "cannot be taken in"),
    ] {
        let refused = import(&bad).await;
        refused.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
        assert!(refused.text.contains(word), "{word}: {}", refused.text);
        assert!(!refused.text.contains("$argon2"), "no secret is quoted");
    }
    let after = octo.request("GET", "/api/admin/store/export").token(&token).send().await;
    assert_eq!(after.text.lines().skip(1).collect::<Vec<_>>(), lines[1..]);
}
