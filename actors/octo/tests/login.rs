//! Log in and out: the first admin, tokens, cookies, origins, hosts, tickets, revocation, limits.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use http::StatusCode;
use octo::auth::{Ended, Surface};
use serde_json::json;
use support::{Instance, build};

#[tokio::test]
async fn the_first_start_makes_one_admin_and_says_so_once() {
    let octo = Instance::new().await;
    let path = octo.file(".local/state/octo/initial-admin");
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o600);
    for dir in [".local/state/octo", ".local/share/octo", ".local/state/octo/run"] {
        assert_eq!(std::fs::metadata(octo.file(dir)).unwrap().mode() & 0o777, 0o700, "{dir}");
    }
    let made = octo.octo.initial_admin().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("username=admin\npassword={}\n", made.password));
    assert!(!format!("{made:?}").contains(&made.password));
    let password = made.password.clone();
    let (home, clock) = octo.stop().await;
    let again = build(home.path(), "", &clock).await.unwrap();
    assert!(again.initial_admin().is_none(), "shown once");
    assert!(std::fs::read_to_string(&path).unwrap().contains(&password), "and kept until it is changed");
}

#[tokio::test]
async fn a_log_in_gives_a_token_and_a_cookie() {
    let octo = Instance::new().await;
    let answer = octo.login(" Admin ", &octo.password()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.body["user"], json!({ "id": "admin", "name": "Admin", "username": "admin", "email": "", "role": "admin" }));
    let token = answer.body["token"].as_str().unwrap();
    assert_eq!(answer.header("set-cookie"), format!("auth_token={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let by_cookie = octo.request("GET", "/api/me").header("cookie", &format!("auth_token={token}")).send().await;
    assert_eq!(by_cookie.status, 200);
    let by_query = octo.request("GET", &format!("/api/me?token={token}")).send().await;
    by_query.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    let mixed = octo.request("GET", "/api/me").header("cookie", &format!("auth_token={token}")).token("wrong").send().await;
    mixed.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    octo.clock.advance(Duration::from_secs(86_400));
    octo.request("GET", "/api/me").token(token).send().await.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_the_same_and_are_limited() {
    let octo = Instance::new().await;
    let wrong = octo.login("admin", "wrong").await;
    wrong.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    let unknown = octo.login("nobody", "wrong").await;
    assert_eq!((wrong.status, &wrong.text), (unknown.status, &unknown.text));
    for _ in 0..4 {
        octo.login("admin", "wrong").await.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    }
    let limited = octo.login("admin", &octo.password()).await;
    limited.refused(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() <= 30);
    octo.clock.advance(Duration::from_secs(31));
    assert_eq!(octo.login("admin", &octo.password()).await.status, 200);
    for _ in 0..12 {
        assert_eq!(octo.login("admin", &octo.password()).await.status, 200, "who is right is not limited");
    }
}

#[tokio::test]
async fn a_log_out_voids_the_token_and_ends_live_connections() {
    let octo = Instance::new().await;
    let (token, other) = (octo.token().await, octo.token().await);
    let auth = &octo.octo.state().auth;
    let principal = |token: &str| {
        let headers = [(http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())].into_iter().collect();
        auth.authenticate(Surface::Upgrade, &headers, None)
    };
    let mut live = auth.watch(&principal(&token).unwrap());
    let mut stays = auth.watch(&principal(&other).unwrap());
    let ended = tokio::spawn(async move { live.ended().await });
    let answer = octo.request("POST", "/api/auth/logout").token(&token).send().await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(ended.await.unwrap(), Ended::Revoked);
    assert!(principal(&token).is_err() && principal(&other).is_ok());
    octo.request("GET", "/api/me").token(&token).send().await.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    assert!(futures_util::FutureExt::now_or_never(stays.ended()).is_none());
    drop(stays);
    // A restart remembers.
    let (home, clock) = octo.stop().await;
    let again = build(home.path(), "", &clock).await.unwrap();
    let again = Instance::of(again, home, clock);
    let auth = &again.octo.state().auth;
    for (token, holds) in [(&token, false), (&other, true)] {
        let headers = [(http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())].into_iter().collect();
        assert_eq!(auth.authenticate(Surface::Read, &headers, None).is_ok(), holds);
    }
    assert_eq!(again.request("POST", "/api/auth/logout").send().await.status, 204, "without a log in too");
}

#[tokio::test]
async fn a_new_password_voids_every_token_and_removes_the_first_credentials() {
    let octo = Instance::new().await;
    let (token, other, old) = (octo.token().await, octo.token().await, octo.password());
    let change = |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        octo.request("POST", "/api/auth/change-password").token(&token).json(&body).send()
    };
    change("wrong", "a new password").await.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    for unfit in ["short", &old, "admin-1234", &"x".repeat(2000)] {
        change(&old, unfit).await.refused(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    }
    assert!(octo.file(".local/state/octo/initial-admin").exists());
    let changed = change(&old, "correct horse battery").await;
    assert_eq!(changed.status, 204, "{}", changed.text);
    assert!(!octo.file(".local/state/octo/initial-admin").exists());
    for void in [&token, &other] {
        octo.request("GET", "/api/me").token(void).send().await.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    }
    let cookie = changed.header("set-cookie").split(';').next().unwrap().to_owned();
    assert_eq!(octo.request("GET", "/api/me").header("cookie", &cookie).send().await.status, 200, "the browser goes on");
    octo.login("admin", &old).await.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    assert_eq!(octo.login("admin", "correct horse battery").await.status, 200);
}

#[tokio::test]
async fn the_cookie_needs_our_own_page_to_change_anything() {
    let octo = Instance::new().await;
    let cookie = format!("auth_token={}", octo.token().await);
    let put = |headers: Vec<(&'static str, &'static str)>| {
        let call = octo.request("PUT", "/api/me").header("cookie", &cookie).json(&json!({}));
        headers.into_iter().fold(call, |call, (k, v)| call.header(k, v)).send()
    };
    for refused in [
        vec![],
        vec![("origin", "http://evil.example")],
        vec![("origin", "null")],
        vec![("origin", "http://localhost:8081")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "none")],
    ] {
        put(refused).await.refused(StatusCode::FORBIDDEN, "FORBIDDEN");
    }
    for taken in [vec![("origin", "http://localhost:8080")], vec![("sec-fetch-site", "same-origin")]] {
        assert_eq!(put(taken).await.status, 200);
    }
    let login = octo.request("POST", "/api/auth/login").header("origin", "http://evil.example");
    let login = login.json(&json!({ "username": "admin", "password": octo.password() })).send().await;
    login.refused(StatusCode::FORBIDDEN, "FORBIDDEN");
}

#[tokio::test]
async fn octo_answers_only_under_its_own_names() {
    let octo = Instance::with("[auth]\nallowed_hosts = ['octo.example.com']\n").await;
    for path in ["/api/health", "/", "/api/ws/mux"] {
        for host in ["evil.example", "octo.example.com.evil.example", "localhost.evil.example:8080"] {
            let answer = octo.request("GET", path).header("host", host).send().await;
            answer.refused(StatusCode::MISDIRECTED_REQUEST, "MISDIRECTED_REQUEST");
        }
    }
    for host in ["127.0.0.1:8080", "[::1]", "octo.example.com", "192.168.1.9:80"] {
        assert_eq!(octo.request("GET", "/api/health").header("host", host).send().await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_token_is_not_sent_in_the_clear_to_other_machines() {
    let octo = Instance::new().await;
    let login = |host: &'static str, origin: &'static str| {
        let body = json!({ "username": "admin", "password": octo.password() });
        octo.request("POST", "/api/auth/login").header("host", host).header("origin", origin).json(&body).send()
    };
    let plain = login("192.168.1.9:8080", "http://192.168.1.9:8080").await;
    plain.refused(StatusCode::FORBIDDEN, "FORBIDDEN");
    assert!(plain.text.contains("https"), "{}", plain.text);
    let tls = login("192.168.1.9", "https://192.168.1.9").await;
    assert!(tls.header("set-cookie").ends_with("; Secure"), "{}", tls.header("set-cookie"));
}

#[tokio::test]
async fn an_upgrade_takes_a_ticket_once_and_a_cookie_only_from_our_page() {
    let octo = Instance::new().await;
    let token = octo.token().await;
    let ticket = || async {
        let answer = octo.request("POST", "/api/auth/ws-ticket").token(&token).send().await;
        assert_eq!((answer.status, answer.body["expires_in"].as_u64()), (200, Some(30)));
        answer.body["ticket"].as_str().unwrap().to_owned()
    };
    let auth = &octo.octo.state().auth;
    let none = http::HeaderMap::new();
    let headers = |pairs: &[(&'static str, &str)]| -> http::HeaderMap {
        let all = pairs.iter().copied().chain([("host", "localhost:8080")]);
        all.map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap())).collect()
    };
    let query = format!("ticket={}", ticket().await);
    assert!(auth.authenticate(Surface::Read, &none, Some(&query)).is_err(), "only for upgrades");
    assert!(auth.authenticate(Surface::Upgrade, &none, Some(&query)).is_ok());
    assert!(auth.authenticate(Surface::Upgrade, &none, Some(&query)).is_err(), "once");
    let query = format!("ticket={}", ticket().await);
    octo.clock.advance(Duration::from_secs(30));
    assert!(auth.authenticate(Surface::Upgrade, &none, Some(&query)).is_err(), "for 30 seconds");
    let query = format!("token={token}");
    assert!(auth.authenticate(Surface::Upgrade, &none, Some(&query)).is_err(), "no tokens in URLs");
    let cookie = format!("auth_token={token}");
    for (origin, taken) in [
        (None, false),
        (Some("null"), false),
        (Some("http://evil.example"), false),
        (Some("http://evil-localhost:8080"), false),
        (Some("http://localhost:8080.evil.example"), false),
        (Some("http://localhost:8080"), true),
    ] {
        let mut pairs = vec![("cookie", cookie.as_str())];
        pairs.extend(origin.map(|o| ("origin", o)));
        assert_eq!(auth.authenticate(Surface::Upgrade, &headers(&pairs), None).is_ok(), taken, "{origin:?}");
    }
    let bearer = format!("Bearer {token}");
    assert!(auth.authenticate(Surface::Upgrade, &headers(&[("authorization", &bearer)]), None).is_ok());
    let foreign = headers(&[("authorization", &bearer), ("origin", "http://evil.example")]);
    assert!(auth.authenticate(Surface::Upgrade, &foreign, None).is_err());
    let used = format!("ticket={}", ticket().await);
    octo.request("POST", "/api/auth/logout").token(&token).send().await;
    assert!(auth.authenticate(Surface::Upgrade, &none, Some(&used)).is_err(), "a ticket does not outlive its log in");
}

#[tokio::test]
async fn a_query_token_is_taken_where_it_is_configured() {
    let octo = Instance::with("[auth]\nquery_token = true\n").await;
    let query = format!("token={}", octo.token().await);
    let auth = &octo.octo.state().auth;
    assert!(auth.authenticate(Surface::Upgrade, &http::HeaderMap::new(), Some(&query)).is_ok());
    assert!(auth.authenticate(Surface::Read, &http::HeaderMap::new(), Some(&query)).is_err(), "never for REST");
}

#[tokio::test]
async fn the_audit_names_who_did_what_and_no_secret() {
    let octo = Instance::new().await;
    let (token, password) = (octo.token().await, octo.password());
    octo.login("admin", "wrong-secret-word").await;
    octo.request("GET", "/api/me").token(&token).send().await;
    let path = octo.file(".local/state/octo/audit.log.jsonl");
    let mut text = String::new();
    for _ in 0..500 {
        text = std::fs::read_to_string(&path).unwrap();
        if text.lines().count() >= 3 {
            break;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let entries: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&entries[0]["event"], &entries[0]["success"]), (&json!("login"), &json!(true)));
    assert_eq!((&entries[1]["event"], &entries[1]["success"]), (&json!("login"), &json!(false)));
    assert_eq!((&entries[2]["event"], &entries[2]["path"], &entries[2]["status"]), (&json!("request"), &json!("/api/me"), &json!(200)));
    for secret in [token.as_str(), &password, "wrong-secret-word"] {
        assert!(!text.contains(secret));
    }
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn two_instances_in_one_process_know_nothing_of_each_other() {
    let (one, two) = (Instance::new().await, Instance::new().await);
    let token = one.token().await;
    assert_eq!(one.request("GET", "/api/me").token(&token).send().await.status, 200);
    two.request("GET", "/api/me").token(&token).send().await.refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}
