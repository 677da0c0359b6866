//! octo's end of the link, which connects again as often as it is cut: it follows every session from where it was, and asks again what it has no
//! answer to.

use crate::runner::{PROMPTED, Told};
use octo::link::{Item, Link, Target, over};
use octo_e2e::wire::{Grip, Wire, connection};
use octo_protocol::link::{Principal, RequestBody};
use octo_protocol::{Epoch, ErrorCode, ProtocolError, SessionId};
use octo_runner::link::{Serving, serve};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Patience of one request.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where a link is lost without anybody's fault; any other reason is a breach of the protocol.
const HARMLESS: [&str; 3] = ["the runner closed the link", "the link broke", "the link was closed"];

pub struct Client {
    links: watch::Receiver<Option<Link>>,
    told: Arc<Mutex<Told>>,
    progress: watch::Sender<BTreeMap<&'static str, u64>>,
    requests: JoinSet<()>,
    asked: usize,
    prompts: usize,
    tasks: JoinSet<()>,
}

fn principal() -> Principal {
    Principal { user: "alice".to_owned(), actor: "alice".to_owned() }
}

impl Client {
    pub fn new(serving: Serving, wires: Vec<Wire>, credit: u32, epochs: Vec<(&'static str, String)>) -> Self {
        let (say, links) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(connect_again(serving, wires.into(), say));
        let (told, progress) = (Arc::<Mutex<Told>>::default(), watch::Sender::new(BTreeMap::new()));
        for (session, epoch) in epochs {
            told.lock().unwrap().insert(session, BTreeMap::new());
            tasks.spawn(follow(session, epoch.parse().unwrap(), credit, links.clone(), Arc::clone(&told), progress.clone()));
        }
        Self { links, told, progress, requests: JoinSet::new(), asked: 0, prompts: 0, tasks }
    }

    /// Sends a prompt until it has an answer.
    pub fn prompt(&mut self) {
        // One agent's queue has room for so many.
        if self.prompts < 40 {
            let n = self.prompts;
            self.prompts += 1;
            let json = format!(r#"{{"session_id":"{PROMPTED}","cmd":"prompt","message":"number {n}","client_id":"c{n}"}}"#);
            self.request(json);
        }
    }

    pub fn ask(&mut self) {
        // Nothing that needs an agent: there is none.
        let cmd = ["get_messages", "get_state", "list_sessions"][self.asked % 3];
        self.request(format!(r#"{{"session_id":"{PROMPTED}","cmd":"{cmd}"}}"#));
    }

    fn request(&mut self, json: String) {
        self.asked += 1;
        let mut links = self.links.clone();
        self.requests.spawn(async move {
            loop {
                let Some(link) = alive(&mut links).await else { return };
                let body = RequestBody::Command { json: json.clone().into_bytes() };
                match link.request(principal(), body, DEADLINE).await {
                    Ok(_) => return,
                    Err(ProtocolError { code: ErrorCode::RunnerUnavailable, .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{json}: {error}"),
                }
            }
        });
    }

    /// Waits until every request has its answer and every session was followed to its head.
    /// What it was told, and how many prompts it sent.
    pub async fn finish(mut self, heads: &[(&'static str, u64)]) -> (Told, usize) {
        while let Some(done) = self.requests.join_next().await {
            done.unwrap();
        }
        let mut progress = self.progress.subscribe();
        // What the prompts brought about has come meanwhile too, and is judged as far as it came.
        let there = |now: &BTreeMap<&'static str, u64>| {
            heads.iter().all(|(session, head)| *head == 0 || *session == PROMPTED || now.get(session).is_some_and(|seq| seq >= head))
        };
        tokio::select! {
            reached = progress.wait_for(there) => drop(reached.unwrap()),
            broken = self.tasks.join_next() => broken.unwrap().unwrap(),
        }
        let mut told = self.told.lock().unwrap().clone();
        told.remove(PROMPTED);
        (told, self.prompts)
    }
}

async fn alive(links: &mut watch::Receiver<Option<Link>>) -> Option<Link> {
    let link = links.wait_for(Option::is_some).await.ok()?.clone();
    // One that is over is about to be replaced.
    if link.as_ref().is_some_and(|link| link.load() == (0, 0)) {
        tokio::task::yield_now().await;
    }
    link
}

/// One connection after the other, each as its wire says; the last one is whole.
async fn connect_again(serving: Serving, mut wires: VecDeque<Wire>, say: watch::Sender<Option<Link>>) {
    let target = Target { socket: "/in/memory".into(), uid: 0, user: "alice".to_owned(), instance: "test".to_owned() };
    for number in 1.. {
        let wire = wires.pop_front().unwrap_or_else(Wire::whole);
        let is_last = wire.cut.is_none() && wires.is_empty();
        let (ends, carrying) = connection(wire, Grip::default());
        let serving = serving.clone();
        let served = tokio::spawn(serve(number, serving, ends.runner.0, ends.runner.1));
        match over(Box::new(ends.octo.0), Box::new(ends.octo.1), &target, watch::channel(None).0).await {
            Ok((link, driver)) => {
                say.send_replace(Some(link));
                let reason = driver.run().await;
                assert!(HARMLESS.iter().any(|harmless| reason.starts_with(harmless)), "the link was lost: {reason}");
                assert!(!is_last, "a connection without faults was lost: {reason}");
                say.send_replace(None);
            }
            Err(error) => assert!(!is_last, "a connection without faults was not made: {error}"),
        }
        carrying.await.unwrap();
        served.await.unwrap();
    }
}

/// Follows one session over all connections.
async fn follow(
    session: &'static str,
    epoch: Epoch,
    credit: u32,
    mut links: watch::Receiver<Option<Link>>,
    told: Arc<Mutex<Told>>,
    progress: watch::Sender<BTreeMap<&'static str, u64>>,
) {
    let id = SessionId::new(session).unwrap();
    let mut last = 0;
    while let Some(link) = alive(&mut links).await {
        let Ok(mut subscription) = link.subscribe(&id, Some(epoch.clone()), Some(last), None, credit) else {
            tokio::task::yield_now().await;
            continue;
        };
        while let Some(item) = subscription.next().await {
            match item {
                Item::Started(started) => assert_eq!((started.after, started.epoch), (last, epoch.clone()), "{session} goes on elsewhere"),
                Item::Event(event) if event.seq == 0 => {}
                Item::Event(event) => {
                    assert!(event.seq > last, "{session}: {} after {last}", event.seq);
                    last = event.seq;
                    told.lock().unwrap().get_mut(session).unwrap().insert(event.seq, event.payload);
                    progress.send_modify(|now| {
                        now.insert(session, last);
                    });
                }
                Item::Ended(reason) => panic!("{session}: the subscription ended: {reason:?}"),
            }
        }
    }
}
