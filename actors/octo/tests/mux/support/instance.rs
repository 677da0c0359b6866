//! A whole instance, but for its daemons.

use super::FakeRunner;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use octo::auth::{AuthError, Authenticator, Browser, Clock, Revocations, Role, Surface, Tickets, Tokens, UserId};
use octo::config::{Config, Environment, Overrides};
use octo::eavs::EavsClient;
use octo::launch::Launch;
use octo::state::{AppState, Inner};
use octo::store::Account;
use octo::users::{Users, UsersConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub struct Instance {
    pub state: AppState,
    pub address: SocketAddr,
    pub revocations: Revocations,
    tokens: Tokens,
    _home: Arc<tempfile::TempDir>,
    server: tokio::task::JoinHandle<()>,
}

impl Instance {
    pub async fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap())).await
    }

    /// Another process on the same directories.
    pub async fn again(&self) -> Self {
        Self::start_in(Arc::clone(&self._home)).await
    }

    async fn start_in(home: Arc<tempfile::TempDir>) -> Self {
        let env: Environment = [("HOME", home.path().to_str().unwrap())].into_iter().collect();
        let settings = Arc::new(Config::load_with(&env, &Overrides::default()).unwrap().settings().unwrap());
        settings.paths.prepare().unwrap();
        let clock = Clock::system();
        let secret = "a secret of this test, long enough for HS256".to_owned().into();
        let tokens = || Tokens::new(&secret, Duration::from_secs(3600), clock.clone());
        let revocations = Revocations::new(Vec::new(), &[], clock.clone());
        let browser = Browser::new(&settings.auth, "localhost");
        let auth = Authenticator::new(tokens(), revocations.clone(), Tickets::new(clock.clone()), browser, false);
        let system = octo_actors::System::new();
        let launch = Launch::new(Arc::clone(&settings));
        let shutdown = CancellationToken::new();
        let config =
            UsersConfig { launch: launch.clone(), system: system.clone(), instance: "test".to_owned(), shutdown: shutdown.clone() };
        let state = AppState::new(Inner {
            settings,
            auth,
            users: Users::start(config).await.unwrap(),
            eavs: EavsClient::new(launch.clone()),
            launch,
            system,
            shutdown,
            connections: TaskTracker::new(),
            instance: "test".to_owned(),
        });
        let app = Router::new()
            .nest("/api", octo::mux::routes())
            .layer(from_fn_with_state(state.clone(), authenticate))
            .with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { state, address, revocations, tokens: tokens(), _home: home, server }
    }

    pub fn account(&self, name: &str, role: Role) -> Account {
        Account {
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
        }
    }

    /// A token for an account of that name.
    pub fn token(&self, name: &str, role: Role) -> String {
        let account = self.account(name, role);
        self.revocations.set_account(&account);
        self.tokens.issue(&account).unwrap().0
    }

    pub fn runner(&self, user: &str) -> FakeRunner {
        FakeRunner::start(&self.state.settings.paths.runner_socket(&UserId::new(user).unwrap()), user)
    }

    /// Ends as a process ends that is killed.
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

async fn authenticate(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let query = request.uri().query().map(str::to_owned);
    match state.auth.authenticate(Surface::Upgrade, request.headers(), query.as_deref()) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(AuthError::Unauthenticated(why)) => (StatusCode::UNAUTHORIZED, why).into_response(),
        Err(AuthError::CrossOrigin(why)) => (StatusCode::FORBIDDEN, why).into_response(),
    }
}
