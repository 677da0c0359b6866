//! The tree of actors: who sees which part of it, what is sent of it, and what its owner may do with it.

use crate::support::*;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use octo::auth::Role;
use octo_actors::ActorPath;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tower::ServiceExt as _;

fn actors(frame: &Value) -> bool {
    frame["type"] == "actors"
}

fn paths(frame: &Value) -> Vec<&str> {
    frame["rows"].as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect()
}

async fn watch(client: &mut Client, path: Option<&str>) -> Value {
    let mut frame = json!({"channel": "system", "type": "watch_actors", "id": "w"});
    if let Some(path) = path {
        frame["path"] = json!(path);
    }
    client.send(frame).await;
    client.other(|f| f["id"] == "w").await
}

/// One request over REST: the status, and the answer.
async fn rest(instance: &Instance, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = Request::builder().method(method).uri(format!("/api{path}")).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let response = instance.octo.router().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&text).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admins_watch_the_actors_on_both_sides_of_the_socket() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    runner.show_actor("/sessions/s/agent");
    let mut alice = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    alice.attach("s").await;
    let mut admin = Client::connect(&instance, &instance.token("root", Role::Admin).await).await;
    let first = watch(&mut admin, Some("/users/alice")).await;
    for path in [
        "/users/alice",
        "/users/alice/runner",
        "/users/alice/runner/sessions/s/agent",
        "/users/alice/sessions/s",
        "/users/alice/connections/1",
    ] {
        assert!(paths(&first).contains(&path), "{path} in {first}");
    }
    assert_eq!((&first["first"], &first["left_out"], &first["gone"]), (&json!(true), &json!([]), &json!([])));
    drop(alice);
    let gone = |f: &Value| f["gone"].as_array().is_some_and(|gone| gone.contains(&json!("/users/alice/connections/1")));
    let later = admin.other(gone).await;
    assert!(later["first"].is_null() && later["left_out"].is_null() && later["id"] == "w", "{later}");
    assert!(later["at"].as_i64() > first["at"].as_i64());
    // All of it, when nothing is named.
    let all = watch(&mut admin, None).await;
    assert!(paths(&all).contains(&"/services") && paths(&all).contains(&"/users/root/runner"), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_watches_the_own_subtree_and_finds_nothing_beside_it() {
    let instance = Instance::start().await;
    let (alices, bobs) = (instance.runner("alice"), instance.runner("bob"));
    alices.open("s");
    alices.show_actor("/sessions/s/agent");
    bobs.open("s");
    let mut bob = Client::connect(&instance, &instance.token("bob", Role::User).await).await;
    bob.attach("s").await;
    let mut alice = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    alice.attach("s").await;
    for path in ["/", "/users", "/users/bob", "/users/bob/sessions/s", "/users/alice-2", "/users/nobody", "/services", "/services/eavs"] {
        let refused = watch(&mut alice, Some(path)).await;
        assert_eq!((&refused["type"], &refused["error"]), (&json!("error"), &json!("there is no such object")), "{path}: {refused}");
    }
    assert_eq!(watch(&mut alice, Some("users")).await["type"], "error");
    let first = watch(&mut alice, None).await;
    assert!(paths(&first).contains(&"/users/alice/runner/sessions/s/agent") && paths(&first).contains(&"/users/alice"), "{first}");
    assert!(paths(&first).iter().all(|path| *path == "/users/alice" || path.starts_with("/users/alice/")), "{first}");
    let part = watch(&mut alice, Some("/users/alice/runner")).await;
    assert!(paths(&part).iter().all(|path| path.starts_with("/users/alice/runner")), "{part}");
    let long = json!({"channel": "system", "type": "watch_actors", "id": "w".repeat(129)});
    alice.send(long).await;
    assert!(alice.other(|f| f["type"] == "error").await["error"].as_str().unwrap().contains("128"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_thousand_actors_only_those_that_changed_are_sent_and_one_look_serves_all_who_watch() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    for n in 0..2000 {
        runner.show_actor(&format!("/sessions/s{n:04}"));
    }
    let mut alice = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let mut admin = Client::connect(&instance, &instance.token("root", Role::Admin).await).await;
    let count = |frame: &Value| paths(frame).iter().filter(|path| path.contains("/runner/sessions/")).count();
    let first = watch(&mut alice, None).await;
    let mut rows = count(&first);
    let mut more = first["more"] == true;
    while more {
        let page = alice.other(actors).await;
        assert_eq!((&page["at"], &page["first"]), (&first["at"], &Value::Null), "a page of the same look");
        rows += count(&page);
        more = page["more"] == true;
    }
    assert_eq!(rows, 2000);
    watch(&mut admin, None).await;
    let (mut of_alice, mut of_admin) = (BTreeSet::new(), BTreeSet::new());
    while of_alice.intersection(&of_admin).count() < 2 {
        let frame = alice.other(actors).await;
        assert!(frame.to_string().len() < 4096, "a small frame: {} bytes", frame.to_string().len());
        assert_eq!(count(&frame), 0, "{frame}");
        of_alice.insert(frame["at"].as_i64());
        of_admin.insert(admin.other(actors).await["at"].as_i64());
        assert!(of_alice.len() < 30, "they look each by itself: {of_alice:?} {of_admin:?}");
    }
    runner.show_actor("/sessions/new");
    let new = alice.other(|f| actors(f) && paths(f).contains(&"/users/alice/runner/sessions/new")).await;
    assert_eq!(count(&new), 1, "{new}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_does_not_answer_is_named_and_holds_up_nobody_elses_rows() {
    let instance = Instance::start().await;
    let (alices, bobs) = (instance.runner("alice"), instance.runner("bob"));
    alices.show_actor("/history");
    bobs.show_actor("/history");
    let _roots = instance.runner("root");
    let _alice = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let _bob = Client::connect(&instance, &instance.token("bob", Role::User).await).await;
    let mut admin = Client::connect(&instance, &instance.token("root", Role::Admin).await).await;
    let first = watch(&mut admin, Some("/users")).await;
    if first["left_out"] != json!([]) {
        // A link is being made.
        admin.other(|f| f["left_out"] == json!([])).await;
    }
    alices.hold("actors");
    let told = admin.other(|f| f["left_out"].to_string().contains("/users/alice/runner")).await;
    assert_eq!(told["left_out"][0]["path"], "/users/alice/runner", "{told}");
    assert!(told["left_out"][0]["reason"].as_str().unwrap().contains("does not answer"), "{told}");
    bobs.show_actor("/retention");
    let news = admin.other(|f| actors(f) && paths(f).contains(&"/users/bob/runner/retention")).await;
    assert!(news["left_out"].is_null(), "that is as it was: {news}");
    alices.release();
    admin.other(|f| f["left_out"] == json!([])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_inspects_and_restarts_what_is_the_users_own_and_an_admin_everything() {
    let instance = Instance::start().await;
    let (alices, bobs) = (instance.runner("alice"), instance.runner("bob"));
    alices.open("s");
    bobs.open("s");
    let (alice, root) = (instance.token("alice", Role::User).await, instance.token("root", Role::Admin).await);
    let mut client = Client::connect(&instance, &alice).await;
    client.attach("s").await;
    let mut bob = Client::connect(&instance, &instance.token("bob", Role::User).await).await;
    bob.attach("s").await;
    let inspect = async |token: &str, path: &str| rest(&instance, token, "GET", &format!("/actors/inspect?path={path}"), None).await;
    let restart = async |token: &str, path: &str| rest(&instance, token, "POST", "/actors/restart", Some(json!({ "path": path }))).await;

    for (path, may) in
        [("/users/alice", false), ("/users/alice/runner", false), ("/users/alice/sessions/s", true), ("/users/alice/connections/1", false)]
    {
        let (status, seen) = inspect(&alice, path).await;
        assert_eq!((status, &seen["row"]["path"], &seen["may_restart"]), (200, &json!(path), &json!(may)), "{seen}");
        assert_eq!(inspect(&root, path).await.1["may_restart"], true);
        if !may {
            let (status, refused) = restart(&alice, path).await;
            assert_eq!((status, &refused["code"]), (403, &json!("FORBIDDEN")), "{path}: {refused}");
        }
    }
    assert_eq!(inspect(&alice, "/users/alice/runner/sessions/none").await.0, 400, "the fake runner cannot be asked that");
    let session = ActorPath::parse("/users/alice/sessions/s").unwrap();
    let restarts = || instance.state.system.directory().get(&session).unwrap().restarts;
    assert_eq!((restarts(), restart(&alice, session.as_str()).await.0, restarts()), (0, 200, 1));
    assert_eq!(restart(&root, "/users/alice/runner").await.0, 200);

    for outside in ["/", "/users", "/users/bob", "/users/bob/sessions/s", "/users/bob/sessions/none", "/services", "/nothing"] {
        for (status, refused) in [inspect(&alice, outside).await, restart(&alice, outside).await] {
            assert_eq!((status, &refused["error"]), (404, &json!("there is no such object")), "{outside}: {refused}");
        }
        for ask in ["/actors", "/actors/trace", "/actors/event-path"] {
            let (status, refused) = rest(&instance, &alice, "GET", &format!("{ask}?path={outside}"), None).await;
            assert_eq!((status, &refused["error"]), (404, &json!("there is no such object")), "{ask} {outside}: {refused}");
        }
    }
    assert_eq!(instance.state.system.directory().get(&ActorPath::parse("/users/bob/sessions/s").unwrap()).unwrap().restarts, 0);
    let (status, own) = rest(&instance, &alice, "GET", "/actors", None).await;
    assert!(status == 200 && paths(&own).iter().all(|path| path.starts_with("/users/alice")), "{own}");
    assert!(paths(&rest(&instance, &root, "GET", "/actors", None).await.1).contains(&"/services"));
    assert_eq!(rest(&instance, &alice, "GET", "/admin/actors", None).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_traces_the_own_actors_a_few_times_at_once_and_no_longer_than_the_login_holds() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let token = instance.token("alice", Role::User).await;
    let mut client = Client::connect(&instance, &token).await;
    client.attach("s").await;
    let mut running = Vec::new();
    let own = |token: &str| Request::builder().uri(format!("/api/actors/trace?{OF_S}")).header("authorization", format!("Bearer {token}"));
    for _ in 0..octo::users::MAX_TRACES_OF_ONE {
        let response = stream(&instance, own(&token)).await;
        assert_eq!(response.status(), 200);
        running.push(response);
    }
    assert_eq!(stream(&instance, own(&token)).await.status(), 429);
    running.pop();
    running.push(stream(&instance, own(&token)).await);
    assert_eq!(running.last().unwrap().status(), 200, "the place of one that is over is given back");
    ends_with_the_rights(&instance, running.pop().unwrap(), "alice").await;
}

/// What the path of a trace is in these tests.
const OF_S: &str = "path=/users/alice/sessions/s";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_for_an_admin_ends_with_the_rights_and_on_the_admin_socket_with_the_connection() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    client.attach("s").await;
    let address = format!("/api/admin/actors/trace?{OF_S}");
    let peer = octo::auth::SocketPeer { uid: 0, pid: None, admitted: true };
    let mut operator = stream(&instance, Request::builder().uri(&address).extension(peer)).await.into_body();
    let root = instance.token("root", Role::Admin).await;
    let response = stream(&instance, Request::builder().uri(&address).header("authorization", format!("Bearer {root}"))).await;
    ends_with_the_rights(&instance, response, "root").await;
    next_line(&mut operator).await;
}

/// A line comes, and when the account has no rights any more, that was the last but what was on its way.
async fn ends_with_the_rights(instance: &Instance, response: http::Response<Body>, account: &str) {
    assert_eq!(response.status(), 200);
    let mut lines = response.into_body();
    next_line(&mut lines).await;
    let account = octo::auth::UserId::new(account).unwrap();
    instance.state.accounts.update(&account, |account| account.is_active = false).await.unwrap();
    let ended = async { while lines.frame().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the trace ends with the rights");
}

/// A message, or nothing happens and that is said.
async fn next_line(lines: &mut Body) {
    let line = tokio::time::timeout(PATIENCE, lines.frame()).await.unwrap().unwrap().unwrap();
    serde_json::from_slice::<octo_protocol::admin::TraceLine>(line.data_ref().unwrap()).unwrap();
}

async fn stream(instance: &Instance, request: http::request::Builder) -> http::Response<Body> {
    instance.octo.router().oneshot(request.header("host", "localhost").body(Body::empty()).unwrap()).await.unwrap()
}
