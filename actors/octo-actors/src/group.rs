//! A branch of the tree that only supervises.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use ractor::ActorRef;
use tokio::sync::watch;

use crate::nursery::Command;
use crate::supervise::{StartError, Supervisor};
use crate::{Actor, Ctx, Failure, Kind};

type Plant = Arc<dyn Fn(Supervisor) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> + Send + Sync>;

struct Group;

#[derive(Clone)]
struct Ground {
    plant: Plant,
    /// The nursery of the current incarnation, for the group's handle.
    current: Arc<watch::Sender<Option<ActorRef<Command>>>>,
}

impl Actor for Group {
    type Msg = Infallible;
    type Args = Ground;

    async fn start(ground: Ground, ctx: &Ctx<Infallible>) -> Result<Self, Failure> {
        let children = ctx.children();
        ground.current.send_replace(children.nursery());
        (ground.plant)(children.clone()).await?;
        Ok(Self)
    }

    async fn handle(&mut self, message: Infallible, _: &Ctx<Infallible>) -> Result<(), Failure> {
        match message {}
    }
}

pub(crate) async fn start<F, P>(above: &Supervisor, kind: Kind, name: &str, plant: P) -> Result<Supervisor, StartError>
where
    P: Fn(Supervisor) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let plant: Plant = Arc::new(move |children| Box::pin(plant(children)));
    let (current, mut nursery) = watch::channel(None);
    let ground = Ground { plant, current: Arc::new(current) };
    let address = above.start_child::<Group>(kind, name, move || ground.clone()).await?;
    tokio::select! {
        planted = nursery.wait_for(Option::is_some) => drop(planted),
        () = address.closed() => return Err(StartError::Gone(address.path().clone())),
    }
    Ok(above.at(address.path().clone(), nursery))
}
