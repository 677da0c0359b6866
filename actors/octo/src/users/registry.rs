//! The branch `/users`: wakes a user on first use, lets idle ones sleep.

use super::runner::Way;
use super::user::{self, Args, Shared, User, UserActor};
use crate::auth::{Principal, UserId};
use crate::figures::Figures;
use crate::launch::Launch;
use crate::link::Dial;
use octo_actors::{Actor, ActorPath, Address, Ctx, Directory, Failure, Kind, Reply, StartError, StopError, Stopped, System};
use octo_protocol::admin::LeftOut;
use octo_protocol::link::RequestBody;
use octo_protocol::mux::system::ActorRow;
use octo_protocol::session::SessionList;
use octo_protocol::{ErrorCode, ProtocolError, SessionStatus, SessionSummary};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Patience for waking a user: placing an actor, nothing more.
const WAKE_PATIENCE: Duration = Duration::from_secs(10);
/// A user whom nothing has used for so long falls asleep: the link closes, the runner goes on.
const SLEEP_AFTER: Duration = Duration::from_secs(600);
const SWEEP: Duration = Duration::from_secs(60);
const STOP_USER: Duration = Duration::from_secs(5);
/// Patience for a list of sessions, or a runner's actors.
const QUERY_DEADLINE: Duration = Duration::from_secs(10);

/// What [`Users`] needs of its instance.
#[derive(Clone)]
pub struct UsersConfig {
    /// Finds and starts runners.
    pub launch: Launch,
    /// Reaches runners in place of those that `launch` finds or starts.
    pub dial: Option<Arc<dyn Dial>>,
    /// The tree to live in.
    pub system: System,
    /// Names this control plane in `Hello`.
    pub instance: String,
    /// Cancelled at the end.
    pub shutdown: tokio_util::sync::CancellationToken,
    /// Where it counts.
    pub figures: Arc<Figures>,
}

/// All users of the instance. Clones share one state.
#[derive(Clone)]
pub struct Users {
    address: Address<Msg>,
    awake: Awake,
    directory: Directory,
}

/// Those awake. Taken out only under the lock and only when nobody holds a lease.
#[derive(Clone, Default)]
struct Awake(Arc<Mutex<HashMap<UserId, User>>>);

impl Awake {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, User>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The branch of all users: when it fails beyond its intensity, octo ends.
pub(crate) const KIND: Kind = Kind::permanent("users");

impl Users {
    /// Starts the branch `/users` of the tree.
    ///
    /// # Errors
    /// When the branch cannot be started.
    pub async fn start(config: UsersConfig) -> Result<Self, StartError> {
        let (awake, system) = (Awake::default(), config.system.clone());
        let way = Way { launch: config.launch, dial: config.dial, instance: config.instance };
        let args = (way, awake.clone(), config.figures);
        let address = system.root().start_child::<UsersActor>(KIND, "users", move || args.clone()).await?;
        Ok(Self { address, awake, directory: system.directory().clone() })
    }

    /// The user, woken if asleep.
    ///
    /// # Errors
    /// `not_ready` when its actors cannot be started.
    pub async fn user(&self, id: &UserId) -> Result<User, ProtocolError> {
        if let Some(user) = self.awake.lock().get(id) {
            user.shared.touch();
            return Ok(user.clone());
        }
        let wake = self.address.ask(|reply| Msg::Wake(id.clone(), reply), WAKE_PATIENCE);
        wake.await.map_err(|error| ProtocolError::new(ErrorCode::NotReady, format!("{id} cannot be woken now: {error}")))
    }

    /// Asks the runner of `owner` on behalf of `principal`, which was authorized already.
    ///
    /// # Errors
    /// The runner's refusal, `runner_unavailable` or `timeout`.
    pub async fn request(
        &self,
        principal: &Principal,
        owner: &UserId,
        body: RequestBody,
        deadline: Duration,
    ) -> Result<Value, ProtocolError> {
        let json = self.user(owner).await?.request(principal, body, deadline).await?;
        parse(&json)
    }

    /// The sessions of `owner` as its runner lists them, with the subscriber counts of this instance. With the runner out of reach, as it
    /// listed them last, each `unreachable`.
    ///
    /// # Errors
    /// `runner_unavailable` when nothing is known of them.
    pub async fn sessions(&self, principal: &Principal, owner: &UserId) -> Result<Vec<SessionSummary>, ProtocolError> {
        let user = self.user(owner).await?;
        let body = RequestBody::Command { json: br#"{"session_id":"","cmd":"list_sessions"}"#.to_vec() };
        let mut sessions = match user.request(principal, body, QUERY_DEADLINE).await {
            Ok(json) => parse::<SessionList>(&json)?.sessions,
            Err(refused) if refused.code == ErrorCode::RunnerUnavailable => {
                let known = user.listed().ok_or(refused)?;
                known.iter().map(|s| SessionSummary { state: SessionStatus::Unreachable, ..s.clone() }).collect()
            }
            Err(refused) => return Err(refused),
        };
        for session in &mut sessions {
            session.subscriber_count = user.subscribers(&session.session_id);
        }
        Ok(sessions)
    }

    /// Users who are awake, in order of their ids.
    #[must_use]
    pub fn awake(&self) -> Vec<User> {
        let mut awake: Vec<User> = self.awake.lock().values().cloned().collect();
        awake.sort_by(|a, b| a.id().cmp(b.id()));
        awake
    }

    /// The user, if awake.
    #[must_use]
    pub fn awake_user(&self, id: &UserId) -> Option<User> {
        self.awake.lock().get(id).cloned()
    }

    /// Puts a user to sleep: its actors end, with its connections and the link; the runner and its agents go on. Whether it was awake.
    ///
    /// # Errors
    /// `not_ready` when its actors do not end.
    pub async fn sleep(&self, id: &UserId) -> Result<bool, ProtocolError> {
        let sleep = self.address.ask(|reply| Msg::Sleep(id.clone(), reply), WAKE_PATIENCE);
        sleep.await.map_err(|error| ProtocolError::new(ErrorCode::NotReady, format!("{id} cannot be put to sleep now: {error}")))
    }

    /// Brings the rows of the runners' own actors into the directory, below `/users/<u>/runner`. Returns those whose rows could not be had: where they
    /// would stand, and why.
    pub async fn mount_runners(&self, principal: &Principal) -> Vec<LeftOut> {
        let asked = self.awake().into_iter().map(|user| async move {
            let rows = match user.linked() {
                Some(link) => link.request(principal.on_behalf_of(user.id()), RequestBody::Actors, QUERY_DEADLINE).await,
                None => Err(user.unlinked()),
            };
            (user, rows)
        });
        let mut left_out = Vec::new();
        for (user, rows) in futures_util::future::join_all(asked).await {
            let Ok(prefix) = ActorPath::parse(&format!("/users/{}/runner", user.id())) else { continue };
            match rows.and_then(|json| parse::<Vec<ActorRow>>(&json)) {
                Ok(rows) => {
                    let cut = self.directory.mount(prefix.clone(), rows.into_iter().filter_map(remote_row).collect());
                    if cut > 0 {
                        left_out.push(LeftOut { path: prefix.to_string(), reason: format!("{cut} of its actors are beyond the limit") });
                    }
                }
                Err(error) => {
                    self.directory.unmount(&prefix);
                    left_out.push(LeftOut { path: prefix.to_string(), reason: error.message });
                }
            }
        }
        left_out
    }

    /// The directory of the tree these users live in.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(json).map_err(|e| ProtocolError::new(ErrorCode::Internal, format!("the runner's answer cannot be read: {e}")))
}

fn remote_row(row: ActorRow) -> Option<octo_actors::ActorRow> {
    Some(octo_actors::ActorRow {
        path: ActorPath::parse(&row.path).ok()?,
        kind: row.kind,
        state: serde_json::from_value(Value::String(row.state)).ok()?,
        restarts: row.restarts,
        mailbox: row.mailbox,
        mailbox_limit: row.mailbox_limit.unwrap_or(0),
        processed: row.processed,
        last_error: row.last_error,
        started_at_ms: u64::try_from(row.started_at).unwrap_or(0),
        busy_ms: row.busy_ms,
        busy_with: row.busy_with,
        remote: true,
    })
}

struct UsersActor {
    way: Way,
    awake: Awake,
    figures: Arc<Figures>,
}

/// What `/users` is told.
enum Msg {
    Wake(UserId, Reply<User>),
    Sleep(UserId, Reply<bool>),
    Sweep,
}

impl Actor for UsersActor {
    type Msg = Msg;
    type Args = (Way, Awake, Arc<Figures>);

    async fn start((way, awake, figures): Self::Args, ctx: &Ctx<Msg>) -> Result<Self, Failure> {
        // Those of an earlier incarnation ended with it.
        awake.lock().clear();
        ctx.tell_every(SWEEP, || Msg::Sweep)?;
        Ok(Self { way, awake, figures })
    }

    async fn handle(&mut self, message: Msg, ctx: &Ctx<Msg>) -> Result<(), Failure> {
        match message {
            Msg::Wake(id, reply) => match self.wake(id, ctx).await {
                Ok(user) => reply.send(user),
                Err(error) => reply.refuse(error),
            },
            Msg::Sleep(id, reply) => {
                let was_awake = self.awake.lock().remove(&id).is_some();
                match put_to_sleep(&id, ctx).await {
                    Ok(_) | Err(StopError::NotFound(_)) => reply.send(was_awake),
                    Err(error) => reply.refuse(error),
                }
            }
            Msg::Sweep => {
                let asleep: Vec<UserId> = {
                    let mut awake = self.awake.lock();
                    let idle = |user: &User| Arc::strong_count(&user._lease) == 1 && user.shared.used().elapsed() >= SLEEP_AFTER;
                    let idle: Vec<UserId> = awake.iter().filter(|(_, user)| idle(user)).map(|(id, _)| id.clone()).collect();
                    awake.retain(|id, _| !idle.contains(id));
                    idle
                };
                for id in asleep {
                    let _ = put_to_sleep(&id, ctx).await;
                }
            }
        }
        Ok(())
    }

    fn inspect(&self) -> Value {
        json!({ "awake": self.awake.lock().len() })
    }

    fn name_of(message: &Msg) -> &'static str {
        match message {
            Msg::Wake(..) => "wake",
            Msg::Sleep(..) => "sleep",
            Msg::Sweep => "sweep",
        }
    }
}

/// Ends a user's actors; those of its runner are not shown any more.
async fn put_to_sleep(id: &UserId, ctx: &Ctx<Msg>) -> Result<Stopped, StopError> {
    let stopped = ctx.children().stop_child(id.as_str(), STOP_USER).await;
    if let Ok(mount) = ctx.path().join(&format!("{id}/runner")) {
        ctx.directory().unmount(&mount);
    }
    stopped
}

impl UsersActor {
    async fn wake(&self, id: UserId, ctx: &Ctx<Msg>) -> Result<User, StartError> {
        if let Some(user) = self.awake.lock().get(&id) {
            return Ok(user.clone());
        }
        let shared = Shared::new(id.clone(), Arc::clone(&self.figures));
        let (args, way) = (Arc::clone(&shared), self.way.clone());
        let factory = move || Args { shared: Arc::clone(&args), way: way.clone() };
        let address = ctx.children().start_child::<UserActor>(user::KIND, id.as_str(), factory).await?;
        let user = User { shared, address, directory: ctx.directory().clone(), _lease: Arc::new(()) };
        self.awake.lock().insert(id, user.clone());
        Ok(user)
    }
}
