//! The branch `/users`: wakes a user on first use, lets idle ones sleep.

use super::runner::Way;
use super::traces::OwnTraces;
use super::user::{self, Args, Shared, User, UserActor};
use super::watch::{Lookout, Tree, Watch, Watchers};
use crate::auth::{Principal, UserId, subtree_of};
use crate::figures::Figures;
use crate::launch::Launch;
use crate::link::Dial;
use crate::telemetry::Telemetry;
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
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Patience for waking a user: placing an actor, nothing more.
const WAKE_PATIENCE: Duration = Duration::from_secs(10);
/// A user whom nothing has used for so long falls asleep: the link closes, the runner goes on.
const SLEEP_AFTER: Duration = Duration::from_secs(600);
const SWEEP: Duration = Duration::from_secs(60);
const STOP_USER: Duration = Duration::from_secs(5);
/// Patience for a list of sessions, or a runner's actors.
const QUERY_DEADLINE: Duration = Duration::from_secs(10);
/// Patience for the rows of a runner's actors, which it has at hand: whoever looks because something is wrong does not wait for what is wrong.
const ROWS_DEADLINE: Duration = Duration::from_millis(1200);

/// What [`Users`] needs of its instance.
#[derive(Clone)]
pub struct UsersConfig {
    /// Finds and starts runners.
    pub launch: Launch,
    /// Reaches runners in place of those that `launch` finds or starts.
    pub dial: Option<Arc<dyn Dial>>,
    /// Traces.
    pub telemetry: Telemetry,
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
    traces: OwnTraces,
}

/// Those awake. Taken out only under the lock and only when nobody holds a lease.
#[derive(Clone, Default)]
pub(super) struct Awake(Arc<Mutex<HashMap<UserId, User>>>);

impl Awake {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, User>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In order of their ids.
    pub fn all(&self) -> Vec<User> {
        let mut awake: Vec<User> = self.lock().values().cloned().collect();
        awake.sort_by(|a, b| a.id().cmp(b.id()));
        awake
    }

    pub fn is_awake(&self, id: &UserId) -> bool {
        self.lock().contains_key(id)
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
        let way = Way { launch: config.launch, dial: config.dial, telemetry: config.telemetry, instance: config.instance };
        let args = (way, awake.clone(), config.figures);
        let address = system.root().start_child::<UsersActor>(KIND, "users", move || args.clone()).await?;
        Ok(Self { address, awake, directory: system.directory().clone(), traces: OwnTraces::default() })
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
        self.awake.all()
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

    /// Brings the rows of the runners' own actors into the directory, below `/users/<u>/runner`, as far as they are of use at or below `path`. Returns
    /// those whose rows could not be had: where they would stand, and why.
    pub async fn mount_runners(&self, principal: &Principal, path: &ActorPath) -> Vec<LeftOut> {
        let of_use = |user: &User| subtree_of(user.id()).join("runner").is_ok_and(|mount| mount.is_under(path) || path.is_under(&mount));
        let asked = self.awake().into_iter().filter(of_use).map(|user| async move {
            let rows = match user.linked() {
                Some(link) => {
                    let asked = link.request(principal.on_behalf_of(user.id()), RequestBody::Actors, ROWS_DEADLINE).await;
                    asked.map_err(|error| if error.code == ErrorCode::Timeout { silent(user.id()) } else { error })
                }
                None => Err(user.unlinked()),
            };
            (user, rows)
        });
        let answers = futures_util::future::join_all(asked).await;
        answers.into_iter().filter_map(|(user, rows)| mount(&self.awake, &self.directory, user.id(), rows)).collect()
    }

    /// Watches the tree at and below `path`, the runners' own actors included. The caller has authorized it.
    ///
    /// # Errors
    /// `not_ready` while the branch of all users is being restarted.
    pub async fn watch(&self, path: ActorPath) -> Result<Watch, ProtocolError> {
        let watch = self.address.ask(|reply| Msg::Watch(path, reply), WAKE_PATIENCE);
        watch.await.map_err(|error| ProtocolError::new(ErrorCode::NotReady, format!("the actors cannot be watched now: {error}")))
    }

    /// The traces that users have of their own actors.
    #[must_use]
    pub fn own_traces(&self) -> &OwnTraces {
        &self.traces
    }

    /// The directory of the tree these users live in.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

fn silent(user: &UserId) -> ProtocolError {
    let message = format!(
        "octo-runner of {user} does not answer, though its link is up: it may be stopped, or its machine overloaded. Its agents may run on; \
         `octoctl runner restart {user}` ends it with them and starts another one"
    );
    ProtocolError::new(ErrorCode::Timeout, message)
}

fn parse<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(json).map_err(|e| ProtocolError::new(ErrorCode::Internal, format!("the runner's answer cannot be read: {e}")))
}

/// Brings a runner's answer about its actors into the directory. Returns why some or all of its rows are not there.
pub(super) fn mount(awake: &Awake, directory: &Directory, user: &UserId, rows: Result<Vec<u8>, ProtocolError>) -> Option<LeftOut> {
    // Meanwhile fallen asleep: none of its actors is shown any more.
    let prefix = subtree_of(user).join("runner").ok().filter(|_| awake.is_awake(user))?;
    let reason = match rows.and_then(|json| parse::<Vec<ActorRow>>(&json)) {
        Ok(rows) => match directory.mount(prefix.clone(), rows.into_iter().filter_map(remote_row).collect()) {
            0 => return None,
            cut => format!("{cut} of its actors are beyond the limit"),
        },
        Err(error) => {
            directory.unmount(&prefix);
            error.message
        }
    };
    Some(LeftOut { path: prefix.to_string(), reason })
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
        trouble: row.trouble,
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
    watchers: Watchers,
    /// The trees that are being looked at; closed when nobody watches.
    trees: Option<watch::Receiver<Arc<Tree>>>,
}

/// What `/users` is told.
enum Msg {
    Wake(UserId, Reply<User>),
    Sleep(UserId, Reply<bool>),
    /// Somebody begins to watch the tree.
    Watch(ActorPath, Reply<Watch>),
    Sweep,
}

impl Actor for UsersActor {
    type Msg = Msg;
    type Args = (Way, Awake, Arc<Figures>);

    async fn start((way, awake, figures): Self::Args, ctx: &Ctx<Msg>) -> Result<Self, Failure> {
        // Those of an earlier incarnation ended with it.
        awake.lock().clear();
        ctx.tell_every(SWEEP, || Msg::Sweep)?;
        Ok(Self { way, awake, figures, watchers: Watchers::default(), trees: None })
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
            Msg::Watch(path, reply) => reply.send(self.watch(path, ctx)?),
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
            Msg::Watch(..) => "watch",
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
    fn watch(&mut self, path: ActorPath, ctx: &Ctx<Msg>) -> Result<Watch, Failure> {
        // The newest look ends by itself; whoever joined it in that moment watches again.
        let looking = self.trees.clone().filter(|trees| trees.has_changed().is_ok());
        if let Some(trees) = looking {
            return Ok(self.watchers.join(path, trees));
        }
        let (sender, trees) = watch::channel(Arc::default());
        let watch = self.watchers.join(path, trees.clone());
        let lookout =
            Lookout { awake: self.awake.clone(), directory: ctx.directory().clone(), watchers: self.watchers.clone(), trees: sender };
        // In a task within the task: what somebody looks with does not end what is looked at.
        ctx.spawn_quiet(async move {
            let _ = AbortOnDropHandle::new(tokio::spawn(lookout.run())).await;
        })?;
        self.trees = Some(trees);
        Ok(watch)
    }

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
