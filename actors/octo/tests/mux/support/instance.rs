//! A whole instance, but for its daemons: a fake runner takes the place of one.

use super::{FakeRunner, PATIENCE};
use octo::auth::{Clock, Role, Tokens, UserId};
use octo::config::{Config, Environment, Overrides};
use octo::server::Listener;
use octo::state::AppState;
use octo::store::Account;
use octo::{BuildError, Builder, Octo};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const SECRET: &str = "a secret of these tests, long enough for HS256 to take it";

pub struct Instance {
    pub state: AppState,
    pub address: SocketAddr,
    pub octo: Arc<Octo>,
    tokens: Tokens,
    home: Arc<TempDir>,
    server: tokio::task::JoinHandle<()>,
}

impl Instance {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these settings.
    pub async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), settings).await
    }

    async fn start_in(home: Arc<TempDir>, settings: &[(&'static str, &str)]) -> Self {
        let started = std::time::Instant::now();
        let octo = loop {
            let env: Environment = [("HOME", home.path().to_str().unwrap())].into_iter().collect();
            let overrides = Overrides::default().set("auth.jwt_secret", SECRET);
            let overrides = settings.iter().fold(overrides, |all, (key, value)| all.set(key, *value));
            let config = Config::load_with(&env, &overrides).unwrap();
            // A killed one still has the store until its last task has ended.
            match Builder::new().config(config).binaries(home.path().join("none")).build().await {
                Ok(octo) => break octo,
                Err(BuildError::Store(_)) if started.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        };
        let octo = Arc::new(octo);
        let state = octo.state().clone();
        let listener = Listener::bind("127.0.0.1", 0).await.unwrap();
        let address = listener.address();
        let serving = Arc::clone(&octo);
        let server = tokio::spawn(async move { serving.serve(listener).await.unwrap() });
        let tokens = Tokens::new(&SECRET.to_owned().into(), Duration::from_secs(3600), Clock::system());
        Self { state, address, octo, tokens, home, server }
    }

    /// A token for an account of that name, which is made if need be.
    pub async fn token(&self, name: &str, role: Role) -> String {
        let account = Account {
            id: UserId::new(name).unwrap(),
            username: name.to_owned(),
            email: String::new(),
            display_name: name.to_owned(),
            avatar_url: None,
            role,
            is_active: true,
            password_hash: String::new(),
            token_epoch: 0,
            created_at: 0,
            last_login_at: None,
            settings: serde_json::Map::new(),
        };
        if self.state.accounts.get(&account.id).unwrap().is_none() {
            self.state.accounts.add(&account).await.unwrap();
        }
        self.tokens.issue(&account).unwrap().0
    }

    /// Puts a program in the place of one of octo's own binaries; its path.
    pub fn install(&self, name: &str, text: &str) -> std::path::PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.home.path().join("none").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn runner(&self, user: &str) -> FakeRunner {
        FakeRunner::start(&self.state.settings.paths.runner_socket(&UserId::new(user).unwrap()), user)
    }

    /// Ends as a process ends that is killed, and starts again on the same directories.
    pub async fn killed_and_started(self) -> Self {
        let home = Arc::clone(&self.home);
        self.kill().await;
        Self::start_in(home, &[]).await
    }

    pub async fn kill(self) {
        self.server.abort();
        self.state.system.shutdown(Duration::ZERO).await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.server.abort();
    }
}
