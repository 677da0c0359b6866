//! What all seeds share: a journal with sessions to copy, and what of octo neither asks for time nor for anything of a seed.

use octo::audit::Audit;
use octo::auth::{Accounts, Authenticator, Browser, Clock, Passwords, Revocations, Role, Tickets, Tokens, UserId};
use octo::config::{Config, Environment, Overrides, Settings};
use octo::eavs::EavsClient;
use octo::launch::Launch;
use octo::store::{Account, Store};
use octo_e2e::rounds::session_id;
use octo_protocol::SessionConfig;
use octo_runner::journal::{Disk, Journal, NewSession};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The one user of a simulation.
pub const USER: &str = "alice";
/// The kernel's boot id before the power goes for the first time.
pub const BOOT: &str = "boot-0";
const SECRET: &str = "a secret of the simulation, long enough for HS256 to take it";
/// Sessions that the journal of every seed has; some leave one of them alone.
const SESSIONS: usize = 2;

pub struct Prepared {
    home: tempfile::TempDir,
    pub settings: Arc<Settings>,
    pub store: Store,
    pub launch: Launch,
    pub eavs: EavsClient,
    pub account: Account,
    pub audit: Audit,
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Prepared {
    pub fn new() -> Self {
        let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let env: Environment = [("HOME", home.path().to_str().unwrap())].into_iter().collect();
        let settings = Arc::new(Config::load_with(&env, &Overrides::default()).unwrap().settings().unwrap());
        let (store, audit) = block_on(async { (Store::open(&home.path().join("store")).await.unwrap(), Audit::open(None).await.unwrap()) });
        let launch = Launch::with_binaries(Arc::clone(&settings), Some(home.path().join("none")));
        let account = Account {
            id: UserId::new(USER).unwrap(),
            username: USER.to_owned(),
            email: String::new(),
            display_name: USER.to_owned(),
            avatar_url: None,
            role: Role::User,
            is_active: true,
            password_hash: String::new(),
            token_epoch: 0,
            created_at: 0,
            last_login_at: None,
            settings: serde_json::Map::new(),
        };
        let eavs = EavsClient::new(launch.clone(), store.clone());
        let prepared = Self { home, settings, store, launch, eavs, account, audit };
        prepared.make_journal();
        prepared
    }

    fn template(&self) -> PathBuf {
        self.home.path().join("template")
    }

    fn make_journal(&self) {
        let directory = self.template();
        std::fs::create_dir(&directory).unwrap();
        let journal = Journal::embedded(&directory, BOOT, Disk::default()).unwrap();
        let provision = json!({"eavs_key": "k", "providers": [], "default_provider": "demo", "default_model": "scripted"});
        for number in 0..SESSIONS {
            let id = session_id(number);
            let session = NewSession {
                epoch: format!("e-{id}").parse().unwrap(),
                harness: "pi".to_owned(),
                // Where an agent is tells whose it is; nobody opens it.
                cwd: format!("/nowhere/{id}"),
                provider: "demo".to_owned(),
                model: "scripted".to_owned(),
                config: SessionConfig::default(),
                provision: provision.to_string(),
                readable_id: format!("readable-{id}"),
                parent: None,
                created_at: 1,
                id,
            };
            block_on(journal.create(session)).unwrap();
        }
        block_on(journal.close());
    }

    /// A directory of this seed's own, with a journal in it.
    pub fn home_of(&self, seed: u64) -> tempfile::TempDir {
        let home = tempfile::Builder::new().prefix(&format!("seed-{seed}-")).tempdir_in(self.home.path()).unwrap();
        copy(&self.template(), &home.path().join("data"));
        home
    }

    /// Who may do what, as of now.
    pub fn authenticator(&self) -> Authenticator {
        let clock = Clock::system();
        let revocations = Revocations::new(Vec::new(), std::slice::from_ref(&self.account), clock.clone());
        let browser = Browser::new(&self.settings.auth, "127.0.0.1");
        Authenticator::new(Self::tokens(), revocations, Tickets::new(clock), browser, false)
    }

    fn tokens() -> Tokens {
        Tokens::new(&SECRET.to_owned().into(), Duration::from_secs(365 * 24 * 3600), Clock::system())
    }

    /// A token of the one user.
    pub fn token(&self) -> String {
        Self::tokens().issue(&self.account).unwrap().0
    }

    pub fn accounts(&self, auth: &Authenticator) -> Accounts {
        let initial = self.home.path().join("initial-admin");
        Accounts::new(self.store.clone(), Passwords::new().unwrap(), auth.clone(), Clock::system(), initial)
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
