//! The hand that writes: one connection, and one thread for which everything that waits goes into one transaction. While nothing waits, a small
//! commit that needs no fsync is made on the thread of whoever asks: two changes of threads cost more than the commit itself. An embedded journal has
//! no thread at all: there, whoever asks writes, whatever it is.

use super::JournalError;
use super::batch::{Batch, Sync};
use super::fence::Fence;
use super::operation::{Operation, Outcome};
use super::pulse::Pulse;
use super::witness::Witness;
use super::writer::Writer;
use crate::figures::Figures;
use rusqlite::Connection;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Operations in one transaction at most.
const MAX_GROUP: usize = 256;
/// Operations that may wait for the thread; beyond it the sender waits.
const MAX_QUEUED: usize = 1024;
/// Events and payload bytes that are committed on the caller's thread at most.
const AT_ONCE: (usize, usize) = (64, 64 * 1024);

/// The connection that writes, shared by its thread and those who commit at once.
pub(super) struct Hand {
    writer: Arc<Mutex<Option<Writer>>>,
    /// `None`: there is no thread.
    queue: Option<mpsc::Sender<Operation>>,
    /// Operations that were given to the thread, or are about to be, and are not done. Nothing is committed past them.
    waiting: Arc<AtomicUsize>,
    pulse: Arc<Pulse>,
    figures: Arc<Figures>,
}

impl Hand {
    /// Starts the thread. It ends when it is closed, or when the hand is gone and all that waited is written.
    pub fn new(connection: Connection, witness: Witness, fence: Arc<Fence>) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let writer = Writer::new(connection, witness, fence);
        let (queue, operations) = mpsc::channel(MAX_QUEUED);
        let hand = Self { queue: Some(queue), ..Self::threadless(writer) };
        let (writer, waiting) = (Arc::clone(&hand.writer), Arc::clone(&hand.waiting));
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || run(&writer, operations, &waiting))?;
        Ok((hand, thread))
    }

    /// One that writes nothing.
    pub fn closed() -> Self {
        Self { writer: Arc::default(), queue: None, waiting: Arc::default(), pulse: Arc::default(), figures: Arc::default() }
    }

    /// One without a thread.
    pub fn threadless(writer: Writer) -> Self {
        let (pulse, figures) = (writer.pulse(), Arc::clone(writer.figures()));
        Self { writer: Arc::new(Mutex::new(Some(writer))), queue: None, waiting: Arc::default(), pulse, figures }
    }

    /// How the writing goes.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Lets go of the file in the middle of everything; writes nothing from here on.
    pub fn sever(&self) {
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            writer.abandon();
        }
    }

    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Operations that wait for the thread right now.
    pub fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Gives an operation to the thread; waits while its queue is full.
    pub async fn send(&self, operation: Operation) -> Outcome<()> {
        let Some(queue) = &self.queue else { return self.write_here(operation) };
        let waits = Waits::new(&self.waiting);
        queue.send(operation).await.map_err(|_| JournalError::Closed)?;
        waits.until_done();
        Ok(())
    }

    fn write_here(&self, operation: Operation) -> Outcome<()> {
        let mut place = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Operation::Close { reply } = operation {
            if let Some(writer) = place.take() {
                writer.finish();
            }
            let _ = reply.send(());
            return Ok(());
        }
        let writer = place.as_mut().ok_or(JournalError::Closed)?;
        writer.write(&mut vec![operation]);
        writer.tidy();
        Ok(())
    }

    /// Commits a batch on this thread, if that is quick and nothing waits; else gives it back.
    pub fn at_once(&self, batch: Box<Batch>) -> Result<Outcome<()>, Box<Batch>> {
        let Some(queue) = &self.queue else {
            let (reply, mut outcome) = oneshot::channel();
            let written = self.write_here(Operation::Commit { batch, reply });
            return Ok(written.and_then(|()| outcome.try_recv().unwrap_or(Err(JournalError::Closed))));
        };
        let bytes: usize = batch.entries.iter().map(|entry| entry.packed.payload().len()).sum();
        if batch.sync() != Sync::Normal || batch.entries.len() > AT_ONCE.0 || bytes > AT_ONCE.1 || self.waiting.load(SeqCst) > 0 {
            return Err(batch);
        }
        let Ok(mut writer) = self.writer.try_lock() else { return Err(batch) };
        let Some(writer) = writer.as_mut() else { return Ok(Err(JournalError::Closed)) };
        // What may take long, or has to be told apart with care, is the thread's.
        if !writer.is_calm() || self.waiting.load(SeqCst) > 0 {
            return Err(batch);
        }
        let (reply, mut outcome) = oneshot::channel();
        writer.write(&mut vec![Operation::Commit { batch, reply }]);
        if writer.is_untidy() && queue.capacity() > 0 {
            let waits = Waits::new(&self.waiting);
            if queue.try_send(Operation::Tidy).is_ok() {
                waits.until_done();
            }
        }
        Ok(outcome.try_recv().unwrap_or(Err(JournalError::Closed)))
    }
}

/// One that waits for the thread, also while its sender waits for a place in the queue.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, SeqCst);
        Self(waiting)
    }

    /// The thread has it, and counts it down.
    fn until_done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// What asks the thread to write nothing for a while.
type Pause = (oneshot::Sender<()>, oneshot::Receiver<()>);

fn take_pauses(group: &mut Vec<Operation>) -> Vec<Pause> {
    let mut pauses = Vec::new();
    let rest: Vec<Operation> = group
        .drain(..)
        .filter_map(|operation| match operation {
            Operation::Pause { paused, over } => {
                pauses.push((paused, over));
                None
            }
            other => Some(other),
        })
        .collect();
    group.extend(rest);
    pauses
}

fn run(shared: &Mutex<Option<Writer>>, mut queue: mpsc::Receiver<Operation>, waiting: &AtomicUsize) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    while queue.blocking_recv_many(&mut group, MAX_GROUP) > 0 {
        let taken = group.len();
        let mut closing = None;
        if let Some(at) = group.iter().position(|o| matches!(o, Operation::Close { .. })) {
            queue.close();
            group.truncate(at + 1);
            closing = group.pop();
        }
        // A panic in mid-write has rolled its transaction back.
        let mut place = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = place.as_mut() else { return };
        let pauses = take_pauses(&mut group);
        writer.write(&mut group);
        for (paused, over) in pauses {
            writer.settle();
            if paused.send(()).is_ok() {
                // Nobody writes meanwhile: the writer is held here.
                let _ = over.blocking_recv();
            }
        }
        if let Some(Operation::Close { reply }) = closing {
            if let Some(writer) = place.take() {
                writer.finish();
            }
            let _ = reply.send(());
            return;
        }
        writer.tidy();
        drop(place);
        waiting.fetch_sub(taken, SeqCst);
    }
    *shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
