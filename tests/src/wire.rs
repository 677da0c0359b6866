//! A connection in memory with faults: it has little room, carries bytes in pieces of any size, pauses between them, and breaks at a given byte, or
//! when somebody breaks it. What passes over a runner's link is read along and held against the rules of the link.

use bytes::BytesMut;
use octo_protocol::link::{Decoder, Frame, SUBSCRIPTION_CREDIT};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A pause that is a real one; smaller numbers only let others go first.
pub const NAP: u8 = 255;
/// Naps of one direction: a wire that slept between all its bytes would take minutes for what is many of them.
const NAPS: usize = 200;

/// Where a connection breaks: before this byte of what goes in one direction.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    pub towards_octo: bool,
    pub at: usize,
}

/// How one connection behaves.
#[derive(Debug, Clone)]
pub struct Wire {
    /// Bytes that fit in before a writer has to wait.
    pub room: usize,
    /// Sizes of the pieces, over and over.
    pub pieces: Vec<usize>,
    pub pauses: Vec<u8>,
    /// How long a nap is.
    pub nap: Duration,
    pub cut: Option<Cut>,
}

impl Wire {
    /// One without faults.
    #[must_use]
    pub fn whole() -> Self {
        Self { room: 65_536, pieces: vec![65_536], pauses: vec![0], nap: Duration::from_millis(1), cut: None }
    }
}

/// A hand on a connection. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Grip {
    broken: CancellationToken,
    held: watch::Sender<bool>,
}

impl Grip {
    /// Breaks the connection: both ends notice.
    pub fn cut(&self) {
        self.broken.cancel();
    }

    /// Nothing passes any more, and nobody notices; or it passes again.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.broken.is_cancelled()
    }

    async fn passes(&self) {
        // The sender is ours.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
    }
}

/// The two ends of a connection.
pub struct Ends {
    pub octo: (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>),
    pub runner: (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>),
}

/// What was read along.
#[derive(Default)]
struct Rules {
    /// What each subscription may still send, at most.
    balance: BTreeMap<u32, i64>,
    asked: BTreeSet<u64>,
    answered: BTreeSet<u64>,
}

impl Rules {
    fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Subscribe(wanted) => {
                self.balance.insert(wanted.sub, i64::from(wanted.credit.min(SUBSCRIPTION_CREDIT)));
            }
            Frame::Credit(grant) => {
                if let Some(balance) = self.balance.get_mut(&grant.sub) {
                    *balance = (*balance + i64::from(grant.bytes)).min(i64::from(SUBSCRIPTION_CREDIT));
                }
            }
            Frame::Request(request) => assert!(self.asked.insert(request.id), "request {} was sent twice", request.id),
            Frame::Response(response) => {
                assert!(self.asked.contains(&response.id), "an answer to request {}, which nobody made", response.id);
                assert!(self.answered.insert(response.id), "two answers to request {}", response.id);
            }
            Frame::Event(event) => {
                let balance = self.balance.get_mut(&event.sub).expect("an event of a subscription that nobody made");
                assert!(*balance > 0, "subscription {} sends without credit ({balance})", event.sub);
                *balance -= i64::try_from(event.payload.len()).unwrap();
            }
            _ => {}
        }
    }
}

/// One direction, its reader along.
struct Direction {
    towards_octo: bool,
    wire: Arc<Wire>,
    /// `None`: nobody reads along.
    rules: Option<Arc<Mutex<Rules>>>,
    grip: Grip,
}

impl Direction {
    async fn carry(self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let (mut along, mut decoder) = (BytesMut::new(), Decoder::default());
        let limit = self.wire.cut.filter(|cut| cut.towards_octo == self.towards_octo).map(|cut| cut.at);
        let mut carried = 0;
        let mut buffer = vec![0; self.wire.pieces.iter().copied().max().unwrap_or_default()];
        let mut naps = 0;
        for n in 0.. {
            let piece = self.wire.pieces[n % self.wire.pieces.len()];
            let read = tokio::select! {
                biased;
                read = from.read(&mut buffer[..piece]) => read.unwrap_or(0),
                () = self.grip.broken.cancelled() => return,
            };
            if read == 0 {
                let _ = to.shutdown().await;
                return;
            }
            let goes = limit.map_or(read, |limit| read.min(limit - carried));
            let whole = goes == read;
            if let Some(rules) = &self.rules {
                along.extend_from_slice(&buffer[..goes]);
                while let Some(frame) = decoder.decode(&mut along).expect("frames of the link") {
                    rules.lock().unwrap().take(&frame);
                }
            }
            match self.wire.pauses[n % self.wire.pauses.len()] {
                NAP if naps < NAPS => {
                    naps += 1;
                    tokio::time::sleep(self.wire.nap).await;
                }
                NAP => tokio::task::yield_now().await,
                times => {
                    for _ in 0..times {
                        tokio::task::yield_now().await;
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.grip.passes() => {}
                () = self.grip.broken.cancelled() => return,
            }
            tokio::select! {
                biased;
                written = to.write_all(&buffer[..goes]) => if written.is_err() { return },
                () = self.grip.broken.cancelled() => return,
            }
            carried += goes;
            if !whole || limit == Some(carried) {
                self.grip.cut();
                return;
            }
        }
    }
}

/// Carries what goes between the two ends of a link as `wire` says, until the connection ends.
///
/// # Panics
/// When a rule of the link is broken.
pub async fn between<A, B, C, D>(wire: Wire, octo: (A, B), runner: (C, D))
where
    A: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
    C: AsyncRead + Unpin,
    D: AsyncWrite + Unpin,
{
    carry(wire, Some(Arc::default()), Grip::default(), octo, runner).await;
}

async fn carry<A, B, C, D>(wire: Wire, rules: Option<Arc<Mutex<Rules>>>, grip: Grip, octo: (A, B), other: (C, D))
where
    A: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
    C: AsyncRead + Unpin,
    D: AsyncWrite + Unpin,
{
    let wire = Arc::new(wire);
    let direction = |towards_octo| Direction { towards_octo, wire: Arc::clone(&wire), rules: rules.clone(), grip: grip.clone() };
    let (there, back) = (direction(false), direction(true));
    tokio::join!(there.carry(octo.0, other.1), back.carry(other.0, octo.1));
}

/// Both ends of a new link, and what carries it; that ends when the connection does.
#[must_use]
pub fn connection(wire: Wire, grip: Grip) -> (Ends, tokio::task::JoinHandle<()>) {
    let (octo, octos) = tokio::io::duplex(wire.room);
    let (runner, runners) = tokio::io::duplex(wire.room);
    let carrying = tokio::spawn(carry(wire, Some(Arc::default()), grip, tokio::io::split(octos), tokio::io::split(runners)));
    (Ends { octo: tokio::io::split(octo), runner: tokio::io::split(runner) }, carrying)
}

/// The server's and the client's end of a new connection that nobody reads along.
#[must_use]
pub fn pair(wire: Wire, grip: Grip) -> (DuplexStream, DuplexStream) {
    let (octo, octos) = tokio::io::duplex(wire.room);
    let (client, clients) = tokio::io::duplex(wire.room);
    tokio::spawn(carry(wire, None, grip, tokio::io::split(octos), tokio::io::split(clients)));
    (octo, client)
}
