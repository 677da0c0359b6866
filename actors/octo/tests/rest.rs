//! REST: every route has a policy and is documented, refuses who is not logged in, and answers errors as octo's own.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use http::StatusCode;
use octo::rest::{Policy, document, table};
use serde_json::json;
use support::Instance;

fn concrete(path: &str) -> String {
    format!("/api{}", path.replace("{id}", "ses_1").replace("{user}", "admin").replace("{name}", "octo"))
}

#[test]
fn every_route_is_in_the_document_and_the_other_way_round() {
    let document = serde_json::to_value(document()).unwrap();
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |m| (m.to_uppercase(), path.clone())))
        .collect();
    let routes: BTreeSet<(String, String)> = table().iter().map(|r| (r.method.to_string(), r.path.to_owned())).collect();
    assert_eq!(documented, routes);
    assert_eq!(routes.len(), table().len(), "no route is declared twice");
}

#[tokio::test]
async fn a_route_that_is_not_public_refuses_who_is_not_logged_in() {
    let octo = Instance::new().await;
    let public: BTreeSet<&str> = ["/health", "/features", "/openapi.json", "/auth/login", "/auth/logout"].into_iter().collect();
    for route in table() {
        assert_eq!(public.contains(route.path), route.policy == Policy::Public, "{}", route.path);
        if route.policy == Policy::Public {
            continue;
        }
        for token in [None, Some("not-a-token")] {
            let call = octo.request(route.method.as_str(), &concrete(route.path));
            let call = if let Some(token) = token { call.token(token) } else { call };
            call.send().await.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        }
    }
    octo.request("GET", "/api/ws/mux").send().await.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}

#[tokio::test]
async fn every_response_has_the_security_headers() {
    let octo = Instance::new().await;
    let token = octo.token().await;
    // A trace goes on for as long as somebody reads.
    let ends = |path: &str| !path.ends_with("/trace");
    let mut paths: Vec<String> = table().iter().filter(|r| r.method == "GET" && ends(r.path)).map(|r| concrete(r.path)).collect();
    paths.extend(["/", "/sessions/ses_1", "/assets/none.js", "/api/nothing"].map(str::to_owned));
    let (octo, token) = (&octo, token.as_str());
    let asked = paths.iter().flat_map(|path| [None, Some(token)].map(|token| (path, token))).map(|(path, token)| async move {
        let call = octo.request("GET", path);
        let call = if let Some(token) = token { call.token(token) } else { call };
        (path, call.send().await)
    });
    for (path, answer) in futures_util::future::join_all(asked).await {
        let csp = answer.header("content-security-policy");
        assert!(csp.contains("frame-ancestors 'none'") && csp.contains("script-src 'self'"), "{path}: {csp}");
        let scripts = csp.split(';').find(|d| d.trim().starts_with("script-src")).unwrap();
        assert!(!scripts.contains("unsafe-inline") && !scripts.contains("'unsafe-eval'"), "{scripts}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(!answer.header("permissions-policy").is_empty() && !answer.header("x-request-id").is_empty(), "{path}");
        assert!(answer.header("access-control-allow-origin").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_needs_a_runner_says_why_there_is_none() {
    let octo = Instance::new().await;
    let token = octo.token().await;
    let (octo, token) = (&octo, token.as_str());
    let asked = [
        ("GET", "/api/sessions", None),
        ("GET", "/api/sessions/ses_1", None),
        ("DELETE", "/api/sessions/ses_1", None),
        ("GET", "/api/chat-history", None),
        ("GET", "/api/chat-history/grouped", None),
        ("GET", "/api/chat-history/ses_1", None),
        ("GET", "/api/chat-history/ses_1/messages", None),
        ("PATCH", "/api/chat-history/ses_1", Some(json!({ "title": "t" }))),
        ("GET", "/api/search?q=word", None),
    ];
    // All at once: each waits for the runner for as long as it may.
    let asked = asked.map(|(method, path, body)| async move {
        let call = octo.request(method, path).token(token);
        let call = if let Some(body) = &body { call.json(body) } else { call };
        let answer = call.send().await;
        answer.refused(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE");
        assert!(answer.text.contains("octo-runner"), "{method} {path}: {}", answer.text);
    });
    futures_util::future::join_all(asked).await;
    let answer = octo.request("POST", "/api/sessions").token(token).json(&json!({})).send().await;
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE");
    assert!(answer.text.contains("eavs.enabled"), "{}", answer.text);
}

#[tokio::test]
async fn a_session_that_cannot_be_is_refused_before_anything_is_started() {
    let octo = Instance::new().await;
    let token = octo.token().await;
    for (body, word) in [
        (json!({ "workspace_path": "relative/path" }), "absolute"),
        (json!({ "id": "../x" }), "session id"),
        (json!({ "env": { "OCTO_X": "1" } }), "env"),
        (json!({ "env": { "A B": "1" } }), "env"),
    ] {
        let answer = octo.request("POST", "/api/sessions").token(&token).json(&body).send().await;
        answer.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
        assert!(answer.text.contains(word), "{}", answer.text);
    }
    for path in ["/api/sessions/..%2Fx", "/api/sessions/%00", "/api/sessions/a%20b"] {
        octo.request("DELETE", path).token(&token).send().await.refused(StatusCode::NOT_FOUND, "NOT_FOUND");
    }
}

#[tokio::test]
async fn errors_of_the_framework_are_octos_own() {
    let octo = Instance::new().await;
    let token = octo.token().await;
    octo.request("GET", "/api/nothing").send().await.refused(StatusCode::NOT_FOUND, "NOT_FOUND");
    octo.request("GET", "/api/").send().await.refused(StatusCode::NOT_FOUND, "NOT_FOUND");
    octo.request("PUT", "/api/health").send().await.refused(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED");
    let login = || octo.request("POST", "/api/auth/login");
    login().body("{}").send().await.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE");
    let text = login().header("content-type", "text/plain").body(r#"{"username":"a","password":"b"}"#).send().await;
    text.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE");
    login().json(&json!({ "username": "a" })).send().await.refused(StatusCode::UNPROCESSABLE_ENTITY, "BAD_REQUEST");
    let quoted = login().json(&json!({ "username": "a", "password": 1234567 })).send().await;
    assert!(!quoted.text.contains("1234567"), "an error never quotes a body");
    login().header("content-type", "application/json").body("{").send().await.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    let large = login().header("content-type", "application/json").body("x".repeat(2 << 20)).send().await;
    large.refused(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE");
    octo.request("GET", "/api/search").token(&token).send().await.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    octo.request("GET", "/api/chat-history?limit=many").token(&token).send().await.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    octo.request("GET", "/api/search?q=").token(&token).send().await.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    login().header("content-type", "application/json").body(deep).send().await.refused(StatusCode::UNPROCESSABLE_ENTITY, "BAD_REQUEST");
}

#[tokio::test]
async fn features_tell_strangers_less() {
    let octo = Instance::new().await;
    let stranger = octo.request("GET", "/api/features").send().await.body;
    let keys: Vec<&String> = stranger.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["agent_browser_enabled", "mmry_enabled", "session_auto_attach", "session_auto_attach_scan", "version", "websocket_events"]
    );
    let known = octo.request("GET", "/api/features").token(&octo.token().await).send().await.body;
    assert_eq!(known["default_workspace"], octo.file("octo/admin").display().to_string());
    assert_eq!(known["harnesses"][0]["id"], "pi");
    assert!(known["models_error"].as_str().unwrap().contains("eavs.enabled"));
    let health = octo.request("GET", "/api/health").send().await.body;
    assert_eq!(health, json!({ "status": "ok", "version": octo::VERSION }));
    assert_eq!(octo.request("GET", "/api/openapi.json").send().await.body["info"]["title"], "octo");
}

#[tokio::test]
async fn an_account_can_be_changed_by_its_owner_within_limits() {
    let octo = Instance::new().await;
    let token = octo.token().await;
    let me = octo.request("GET", "/api/me").token(&token).send().await.body;
    assert_eq!((me["id"].as_str(), me["username"].as_str(), me["role"].as_str()), (Some("admin"), Some("admin"), Some("admin")));
    assert!(me.get("password_hash").is_none());
    let put = |body: serde_json::Value| octo.request("PUT", "/api/me").token(&token).json(&body).send();
    let changed = put(json!({ "display_name": " Ada ", "settings": { "theme": "dark", "old": 1 } })).await;
    assert_eq!((changed.body["display_name"].as_str(), changed.body["settings"]["theme"].as_str()), (Some("Ada"), Some("dark")));
    let merged = put(json!({ "settings": { "old": null, "lang": "de" } })).await.body;
    assert_eq!(merged["settings"], json!({ "theme": "dark", "lang": "de" }));
    for bad in [
        json!({ "display_name": "" }),
        json!({ "display_name": "a\u{7}b" }),
        json!({ "avatar_url": "javascript:alert(1)" }),
        json!({ "settings": { "big": "x".repeat(70_000) } }),
    ] {
        put(bad).await.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    }
    put(json!({ "role": "admin" })).await.refused(StatusCode::UNPROCESSABLE_ENTITY, "BAD_REQUEST");
    let kept = octo.request("GET", "/api/me").token(&token).send().await.body;
    assert_eq!(kept["settings"], json!({ "theme": "dark", "lang": "de" }));
}

#[tokio::test]
async fn pages_are_answered_by_the_application_and_files_are_not() {
    let octo = Instance::new().await;
    for path in ["/", "/login", "/sessions/ses_1"] {
        let page = octo.request("GET", path).send().await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
    }
    for path in ["/assets/none.js", "/none.css", "/../Cargo.toml", "/assets/..%2findex.html.x"] {
        assert_eq!(octo.request("GET", path).send().await.status, 404, "{path}");
    }
    assert_eq!(octo.request("POST", "/login").send().await.status, 405);
    let page = octo.request("GET", "/").send().await;
    let etag = page.header("etag");
    if etag.is_empty() {
        assert!(page.text.contains("./setup.sh"), "without a web application the page says so");
    } else {
        let again = octo.request("GET", "/").header("if-none-match", etag).send().await;
        assert_eq!((again.status, again.text.as_str()), (304, ""));
    }
}
