//! The link: the Unix socket on which the control plane reaches this runner.
//!
//! Owns: the listener and its lock ([`Listener`]), who may connect, the handshake, and for each connection one reader, one writer that alone owns
//! the framing, its requests in flight and its subscriptions.
//!
//! Promises: a request is answered once, in whatever order the answers are ready; commands of one session reach it in the order they were sent; a
//! subscription sees every journalled event after its cursor once and in order, whatever part of it comes from the journal and whatever from the
//! ring; one that has no credit, or a peer that does not read, delays nobody else; every list and queue has a limit.
//!
//! Never: decides what a command means, or touches the journal but to replay it.

mod admin;
mod connection;
mod credit;
mod handshake;
mod listener;
mod local;
mod open;
mod outbound;
mod requests;
mod subscription;

pub use connection::serve;
pub use handshake::version;
pub use listener::{ListenError, Listener, Lock, lock};
pub use local::{Following, Local, Pending};

use crate::history::HistoryMsg;
use crate::session::Registry;
use crate::upgrade::Upgrades;
use connection::{Connection, ConnectionArgs};
use octo_actors::{Actor, Address, Ctx, Directory, Failure, Kind};
use octo_protocol::metrics::Limit;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;

/// Connections at once; one more is closed.
pub const MAX_CONNECTIONS: usize = 32;
/// Requests in flight on one connection; one more is answered `busy`.
pub const MAX_REQUESTS: usize = 512;
/// Subscriptions of one connection; one more ends with `LimitExceeded`.
pub const MAX_SUBSCRIPTIONS: usize = 4096;

/// The listener's actor; it is started again whatever happens.
pub const LINK: Kind = Kind::permanent("link").unlimited().restart_stuck(Duration::from_secs(60));
/// A connection's actor; the control plane connects again.
pub const CONNECTION: Kind = Kind::temporary("connection");

/// What the link needs.
#[derive(Clone)]
pub struct LinkArgs {
    pub listener: Arc<Listener>,
    pub serving: Serving,
}

/// What a connection is served with, whatever it runs over.
#[derive(Clone)]
pub struct Serving {
    pub registry: Registry,
    pub history: Address<HistoryMsg>,
    pub directory: Directory,
    /// Who is connected.
    pub peers: Peers,
    /// Where the runner's replacement is asked for.
    pub upgrades: Upgrades,
}

/// Which control plane each live connection belongs to.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<BTreeMap<u64, String>>>);

impl Peers {
    /// Enters a connection; the name of the control plane that is served already, if it is another one.
    fn enter(&self, connection: u64, instance: &str) -> Result<PeerGuard, String> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = peers.values().find(|other| *other != instance) {
            return Err(other.clone());
        }
        peers.insert(connection, instance.to_owned());
        Ok(PeerGuard { peers: self.clone(), connection })
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

struct PeerGuard {
    peers: Peers,
    connection: u64,
}

impl Drop for PeerGuard {
    fn drop(&mut self) {
        self.peers.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.connection);
    }
}

/// What the link is told.
pub enum LinkMsg {
    #[doc(hidden)]
    Accepted(UnixStream),
}

/// The actor that accepts.
pub struct Link {
    args: LinkArgs,
    accepted: u64,
    refused: u64,
}

impl Actor for Link {
    type Msg = LinkMsg;
    type Args = LinkArgs;

    async fn start(args: LinkArgs, ctx: &Ctx<LinkMsg>) -> Result<Self, Failure> {
        let (listener, own) = (Arc::clone(&args.listener), ctx.address().clone());
        ctx.spawn_quiet(async move {
            loop {
                match listener.accept().await {
                    Ok(stream) => drop(own.tell(LinkMsg::Accepted(stream))),
                    // Out of descriptors: what is connected goes on, and closing will make room.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        })?;
        Ok(Self { args, accepted: 0, refused: 0 })
    }

    async fn handle(&mut self, message: LinkMsg, ctx: &Ctx<LinkMsg>) -> Result<(), Failure> {
        let LinkMsg::Accepted(stream) = message;
        let connections = ctx.directory().subtree(ctx.path()).len().saturating_sub(1);
        if connections >= MAX_CONNECTIONS {
            self.refused += 1;
            self.args.serving.registry.shared().figures.limits.hit(Limit::LinkConnections);
            tracing::warn!(connections, "a connection over the limit was closed");
            return Ok(());
        }
        self.accepted += 1;
        let number = self.accepted;
        let admitted = self.args.listener.admit(&stream);
        let (stream, serving) = (Arc::new(Mutex::new(Some(stream))), self.args.serving.clone());
        let args = move || ConnectionArgs {
            number,
            serving: serving.clone(),
            admitted,
            stream: stream.lock().unwrap_or_else(PoisonError::into_inner).take(),
        };
        ctx.children().start_child::<Connection>(CONNECTION, &number.to_string(), args).await?;
        Ok(())
    }

    fn inspect(&self) -> Value {
        json!({ "accepted": self.accepted, "refused": self.refused, "connected": self.args.serving.peers.count() })
    }
}
