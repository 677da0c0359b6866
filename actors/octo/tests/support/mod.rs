//! An instance in this process, with a home of its own and a clock that stands still.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use octo::auth::Clock;
use octo::config::{Config, Environment, Overrides, Standing};
use octo::{BuildError, Builder, Octo};
use serde_json::Value;
use tower::ServiceExt;

pub struct Instance {
    pub octo: Octo,
    pub clock: Clock,
    pub home: tempfile::TempDir,
    router: Router,
}

pub fn home() -> tempfile::TempDir {
    let home = tempfile::Builder::new().prefix("octo-core-").tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    home
}

pub fn environment(home: &Path, more: &[(&str, &str)]) -> Environment {
    let mut all: BTreeMap<String, String> = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    all.insert("HOME".to_owned(), home.display().to_string());
    all.into_iter().collect()
}

pub async fn build(home: &Path, config: &str, clock: &Clock) -> Result<Octo, BuildError> {
    let env = environment(home, &[]);
    let paths = octo::paths::Paths::resolve(&env)?;
    let config = Config::from_text(&env, paths, config, &Overrides::default().set("eavs.enabled", "false"))?;
    // An empty directory: no daemon can be started, and none is looked for elsewhere.
    Builder::new().config(config).clock(clock.clone()).standing(Standing { root: false }).binaries(home.to_owned()).build().await
}

impl Instance {
    pub async fn new() -> Self {
        Self::with("").await
    }

    pub async fn with(config: &str) -> Self {
        Self::at(home(), config).await
    }

    pub async fn at(home: tempfile::TempDir, config: &str) -> Self {
        let clock = Clock::standing();
        let octo = build(home.path(), config, &clock).await.unwrap();
        Self::of(octo, home, clock)
    }

    pub fn of(octo: Octo, home: tempfile::TempDir, clock: Clock) -> Self {
        let router = octo.router();
        Self { octo, clock, home, router }
    }

    /// Stops it; its home can be used again.
    pub async fn stop(self) -> (tempfile::TempDir, Clock) {
        drop(self.router);
        self.octo.stop().await;
        (self.home, self.clock)
    }

    pub fn file(&self, path: &str) -> std::path::PathBuf {
        self.home.path().join(path)
    }

    pub fn password(&self) -> String {
        let text = std::fs::read_to_string(self.file(".local/state/octo/initial-admin")).unwrap();
        text.lines().find_map(|l| l.strip_prefix("password=")).unwrap().to_owned()
    }

    pub fn request(&self, method: &str, path: &str) -> Call<'_> {
        Call { instance: self, request: Request::builder().method(method).uri(path), body: Body::empty(), host: true }
    }

    /// The token of the first admin.
    pub async fn token(&self) -> String {
        let answer = self.login("admin", &self.password()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["token"].as_str().unwrap().to_owned()
    }

    pub async fn login(&self, username: &str, password: &str) -> Answer {
        self.request("POST", "/api/auth/login").json(&serde_json::json!({ "username": username, "password": password })).send().await
    }
}

pub struct Call<'a> {
    instance: &'a Instance,
    request: http::request::Builder,
    body: Body,
    host: bool,
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.host &= name != "host";
        self.request = self.request.header(name, value);
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self) -> Answer {
        let request = if self.host { self.request.header("host", "localhost:8080") } else { self.request };
        let response: Response<Body> = self.instance.router.clone().oneshot(request.body(self.body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// It is octo's own error, with a sentence and a code.
    #[track_caller]
    pub fn refused(&self, status: StatusCode, code: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status.as_u16(), Some(code)), "{}", self.text);
        assert!(self.body["error"].as_str().is_some_and(|e| e.len() > 10), "{}", self.text);
    }
}
