//! Stopping all children of a supervisor, wave by wave: the children of one kind together, the kinds in reverse order
//! of their first start, so that what others stand on stops last.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ActorPath;
use crate::nursery::Brood;

pub(crate) struct Closing {
    by: Instant,
    /// Waves still to stop; the last one is next.
    waves: Vec<Vec<ActorPath>>,
    /// The wave under way.
    wave: Vec<ActorPath>,
    replies: Vec<oneshot::Sender<()>>,
}

impl Brood {
    pub(crate) fn stop_all(&mut self, within: Duration, reply: oneshot::Sender<()>) {
        if let Some(closing) = &mut self.closing {
            closing.replies.push(reply);
            return;
        }
        let mut kinds: HashMap<&'static str, (u64, Vec<ActorPath>)> = HashMap::new();
        for (path, child) in &self.children {
            let (first, paths) = kinds.entry(child.row.kind.name).or_insert((child.order, Vec::new()));
            *first = child.order.min(*first);
            paths.push(path.clone());
        }
        let mut waves: Vec<_> = kinds.into_values().collect();
        waves.sort_by_key(|(first, _)| *first);
        self.closing = Some(Closing {
            by: Instant::now() + within,
            waves: waves.into_iter().map(|(_, paths)| paths).collect(),
            wave: Vec::new(),
            replies: vec![reply],
        });
    }

    /// Stops the next wave when the last one is gone or overdue (one that lingers must not keep the store from being
    /// stopped in order), and answers when everybody is gone.
    pub(crate) fn advance_closing(&mut self) {
        loop {
            let Some(closing) = &mut self.closing else { return };
            if closing.wave.iter().any(|path| self.children.get(path).is_some_and(|child| !child.overdue)) {
                return;
            }
            let overall = closing.by;
            let Some(wave) = closing.waves.pop() else { break };
            closing.wave.clone_from(&wave);
            for path in wave {
                if let Some(child) = self.children.get(&path) {
                    let by = overall.min(Instant::now() + child.row.kind.stop_within);
                    self.stop(&path, by, false);
                }
            }
        }
        if self.children.is_empty() {
            for reply in self.closing.take().into_iter().flat_map(|closing| closing.replies) {
                let _ = reply.send(());
            }
        }
    }
}
