//! A way to a port that can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way. Dropping it closes it.
pub struct Proxy {
    port: u16,
    cuts: watch::Sender<u64>,
    closed: Arc<AtomicBool>,
    carried: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A way to `port` of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (own, cuts) = (listener.local_addr().unwrap().port(), watch::Sender::new(0));
        let (closed, carried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (heard, shut, count) = (cuts.clone(), Arc::clone(&closed), Arc::clone(&carried));
        let task = tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                if shut.load(SeqCst) {
                    continue;
                }
                let mut cut = heard.subscribe();
                count.fetch_add(1, SeqCst);
                tokio::spawn(async move {
                    let Ok(mut to) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { port: own, cuts, closed, carried, task }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection; new ones are carried.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Breaks every connection, and lets none through until it is opened.
    pub fn close(&self) {
        self.closed.store(true, SeqCst);
        self.cut();
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.closed.store(false, SeqCst);
    }

    /// Connections so far.
    pub fn carried(&self) -> u64 {
        self.carried.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
