//! An actor that does whatever a test tells it, and counts its incarnations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use octo_actors::{Actor, ActorPath, Address, Ctx, Failure, Kind, Reply, Supervisor, System};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

/// A total that a probe finds wrong.
pub const TOO_MUCH: u64 = 1_000_000;
pub const SOON: Duration = Duration::from_secs(1);

/// What a test and all incarnations of one probe share.
#[derive(Default)]
pub struct Lab {
    pub starts: AtomicU32,
    pub alive: AtomicU32,
    pub most_alive: AtomicU32,
    pub stoppings: AtomicU32,
    /// While set, `start` fails.
    pub start_fails: AtomicBool,
    /// What `Msg::Hold` and slow stops wait for.
    pub release: Notify,
    /// While set, `stopping` waits for `release`.
    pub stop_hangs: AtomicBool,
}

impl Lab {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
    pub fn starts(&self) -> u32 {
        self.starts.load(SeqCst)
    }
    pub fn alive(&self) -> u32 {
        self.alive.load(SeqCst)
    }
}

/// A resource of one incarnation.
pub struct Held(Arc<Lab>);

impl Held {
    pub fn new(lab: &Arc<Lab>) -> Self {
        let alive = lab.alive.fetch_add(1, SeqCst) + 1;
        lab.most_alive.fetch_max(alive, SeqCst);
        Self(Arc::clone(lab))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, SeqCst);
    }
}

pub enum Msg {
    Add(u64),
    Total(Reply<u64>),
    Refuse(Reply<()>),
    Ignore(Reply<()>),
    Fail,
    Panic,
    Stop,
    /// Stays inside this message until the lab releases it.
    Hold,
    /// Tells that it is inside, then stays for ever.
    Hang(mpsc::UnboundedSender<()>),
    /// Owns a task that holds a resource for ever.
    OwnTask(Reply<()>),
    OwnPanic,
    /// Owns work that comes back as `Add`.
    Work(u64),
    Child(Kind, &'static str, Arc<Lab>, Reply<Address<Msg>>),
}

pub struct Probe {
    total: u64,
    lab: Arc<Lab>,
    _held: Held,
}

impl Actor for Probe {
    type Msg = Msg;
    type Args = Arc<Lab>;

    async fn start(lab: Arc<Lab>, _: &Ctx<Msg>) -> Result<Self, Failure> {
        lab.starts.fetch_add(1, SeqCst);
        let held = Held::new(&lab);
        if lab.start_fails.load(SeqCst) {
            return Err("start fails as told".into());
        }
        Ok(Self { total: 0, lab, _held: held })
    }

    async fn handle(&mut self, msg: Msg, ctx: &Ctx<Msg>) -> Result<(), Failure> {
        match msg {
            Msg::Add(n) => self.total = self.total.wrapping_add(n),
            Msg::Total(reply) => reply.send(self.total),
            Msg::Refuse(reply) => reply.refuse("not today"),
            Msg::Ignore(reply) => drop(reply),
            Msg::Fail => return Err("fails as told".into()),
            Msg::Panic => panic!("panics as told"),
            Msg::Stop => ctx.stop(),
            Msg::Hold => self.lab.release.notified().await,
            Msg::Hang(inside) => {
                inside.send(())?;
                std::future::pending::<()>().await;
            }
            Msg::OwnTask(reply) => {
                let held = Held::new(&self.lab);
                let started = async move {
                    reply.send(());
                    std::future::pending::<()>().await;
                    drop(held);
                };
                ctx.spawn_quiet(started)?;
            }
            Msg::OwnPanic => drop(ctx.spawn_quiet(async { panic!("the task panics as told") })?),
            Msg::Work(n) => drop(ctx.spawn_task(async move { Msg::Add(n) })?),
            Msg::Child(kind, name, lab, reply) => reply.send(child(ctx.children(), kind, name, &lab).await),
        }
        Ok(())
    }

    fn inspect(&self) -> Value {
        json!({ "total": self.total })
    }

    fn trouble(&self) -> Option<String> {
        (self.total >= TOO_MUCH).then(|| "it is too much".to_owned())
    }

    async fn stopping(&mut self, _: &Ctx<Msg>) {
        self.lab.stoppings.fetch_add(1, SeqCst);
        if self.lab.stop_hangs.load(SeqCst) {
            self.lab.release.notified().await;
        }
    }

    fn name_of(msg: &Msg) -> &'static str {
        match msg {
            Msg::Add(_) => "Add",
            Msg::Hold => "Hold",
            Msg::Hang(_) => "Hang",
            Msg::Fail => "Fail",
            Msg::Panic => "Panic",
            _ => "Msg",
        }
    }
}

/// A probe below `above`.
pub async fn child(above: &Supervisor, kind: Kind, name: &str, lab: &Arc<Lab>) -> Address<Msg> {
    let lab = Arc::clone(lab);
    above.start_child::<Probe>(kind, name, move || Arc::clone(&lab)).await.unwrap()
}

/// A probe at the root of a new system, running.
pub async fn probe(kind: Kind) -> (System, Address<Msg>, Arc<Lab>) {
    let (system, lab) = (System::new(), Lab::new());
    let address = child(system.root(), kind, "probe", &lab).await;
    address.ready(SOON).await.unwrap();
    (system, address, lab)
}

pub async fn total(address: &Address<Msg>) -> u64 {
    address.ask(Msg::Total, SOON).await.unwrap()
}

/// Its total, unless it is between two incarnations.
pub async fn total_if_alive(address: &Address<Msg>) -> Option<u64> {
    address.ask(Msg::Total, SOON).await.ok()
}

pub fn path(text: &str) -> ActorPath {
    ActorPath::parse(text).unwrap()
}

/// Lets everything that can run, run (current-thread runtimes).
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Waits until the actor is inside a message that never ends.
pub async fn hang(address: &Address<Msg>) {
    let (inside, mut told) = mpsc::unbounded_channel();
    address.tell(Msg::Hang(inside)).unwrap();
    told.recv().await.unwrap();
}
