//! Prompts of an editor that are not answered yet: which of them the agent has, and which ended with a turn.
//!
//! A prompt that comes while a turn runs waits in octo's queue as a follow-up, and gets a turn of its own. Each prompt is answered once: by the end of its
//! turn, or when it was taken out of the queue.

use octo_protocol::event::QueuedInput;
use serde_json::Value;
use std::collections::VecDeque;

/// Prompts of one session that may be unanswered; octo itself lets no more wait.
pub const MAX_PROMPTS: usize = 64;
/// Inputs of this session that are remembered by their ids, for a client that sends one again.
const REMEMBERED: usize = 256;

#[derive(Debug)]
struct Prompt {
    /// The request that is to be answered.
    rpc: Value,
    client_id: String,
    /// octo has written it down.
    accepted: bool,
    /// It was seen to wait behind a turn.
    queued: bool,
    /// The agent has it.
    taken: bool,
    /// The client has taken it back.
    cancelled: bool,
    /// It alone: what is done about it depends on where it is found.
    back: bool,
    /// It is being taken out of the queue.
    dropping: bool,
}

/// The prompts of one session.
#[derive(Debug, Default)]
pub struct Prompts {
    open: Vec<Prompt>,
    /// Ids of inputs that the agent got, newest last.
    known: VecDeque<String>,
}

/// A prompt that has come to its end.
#[derive(Debug, PartialEq)]
pub struct Ended {
    /// The request.
    pub rpc: Value,
    /// The client had taken it back.
    pub cancelled: bool,
}

impl Prompts {
    /// Waits for the end of this one from now on.
    pub fn add(&mut self, rpc: Value, client_id: String) {
        self.open.push(Prompt {
            rpc,
            client_id,
            accepted: false,
            queued: false,
            taken: false,
            cancelled: false,
            back: false,
            dropping: false,
        });
    }

    /// How many are unanswered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// None is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether this id is that of one of them.
    #[must_use]
    pub fn has(&self, client_id: &str) -> bool {
        self.open.iter().any(|prompt| prompt.client_id == client_id)
    }

    fn find(&mut self, client_id: &str) -> Option<&mut Prompt> {
        self.open.iter_mut().find(|prompt| prompt.client_id == client_id)
    }

    /// octo has written it down.
    pub fn accepted(&mut self, client_id: &str) {
        if let Some(prompt) = self.find(client_id) {
            prompt.accepted = true;
        }
    }

    /// octo has answered the command. One that the agent got long ago, in a turn that is over, is done: a client sent it again.
    pub fn answered(&mut self, client_id: &str, working: bool) -> Option<Ended> {
        let known = self.known.iter().any(|id| id == client_id);
        let prompt = self.find(client_id)?;
        if known && !prompt.taken {
            prompt.taken = true;
            if !working {
                return self.take(|prompt| prompt.client_id == client_id).pop();
            }
        }
        None
    }

    /// The agent has the input of this id; whether it is one of ours.
    pub fn taken(&mut self, client_id: &str) -> bool {
        self.known.push_back(client_id.to_owned());
        if self.known.len() > REMEMBERED {
            self.known.pop_front();
        }
        let Some(prompt) = self.find(client_id) else { return false };
        prompt.taken = true;
        true
    }

    /// What waits now. One that waited, and that the agent did not get, was taken out.
    pub fn queue(&mut self, waiting: &[QueuedInput]) -> Vec<Ended> {
        let waits = |id: &str| waiting.iter().any(|queued| queued.client_id.as_ref().is_some_and(|queued| queued.as_str() == id));
        for prompt in &mut self.open {
            prompt.queued |= waits(&prompt.client_id);
        }
        self.dropped(|prompt| prompt.queued && !prompt.taken && !waits(&prompt.client_id))
    }

    /// An abort gave these back.
    pub fn parked(&mut self, parked: &[QueuedInput]) -> Vec<Ended> {
        let is_parked = |id: &str| parked.iter().any(|queued| queued.client_id.as_ref().is_some_and(|queued| queued.as_str() == id));
        self.dropped(|prompt| !prompt.taken && is_parked(&prompt.client_id))
    }

    /// A turn is over: with it what the agent had, and what was to begin it.
    pub fn turn_ended(&mut self) -> Vec<Ended> {
        let mut begun = self.dropped(|prompt| prompt.accepted && !prompt.queued && !prompt.taken);
        let mut ended = self.take(|prompt| prompt.taken);
        ended.append(&mut begun);
        ended
    }

    /// This one will not come to an end by itself.
    pub fn give_up(&mut self, client_id: &str) -> Option<Value> {
        self.take(|prompt| prompt.client_id == client_id).pop().map(|ended| ended.rpc)
    }

    /// None of them will.
    pub fn give_up_all(&mut self) -> Vec<Ended> {
        self.take(|_| true)
    }

    /// The client takes all of them back.
    pub fn cancel(&mut self) {
        self.open.iter_mut().for_each(|prompt| prompt.cancelled = true);
    }

    /// Whether the client has taken this one back.
    #[must_use]
    pub fn is_cancelled(&self, client_id: &str) -> bool {
        self.open.iter().any(|prompt| prompt.client_id == client_id && prompt.cancelled)
    }

    /// Whether it was taken back by itself, and not with all of its session.
    #[must_use]
    pub fn is_taken_back(&self, client_id: &str) -> bool {
        self.open.iter().any(|prompt| prompt.client_id == client_id && prompt.back)
    }

    /// The client takes this request back; false when it is none of these. What follows from it says [`Prompts::taken_back`].
    pub fn cancel_one(&mut self, rpc: &Value) -> bool {
        let Some(prompt) = self.open.iter_mut().find(|prompt| prompt.rpc == *rpc) else { return false };
        (prompt.cancelled, prompt.back) = (true, true);
        true
    }

    /// What is to be done about those that were taken back, each once, as soon as it is known where they are.
    pub fn taken_back(&mut self) -> Vec<Waiting> {
        let mut found = Vec::new();
        for prompt in self.open.iter_mut().filter(|prompt| prompt.back) {
            if prompt.taken {
                prompt.back = false;
                found.push(Waiting::InTurn);
            } else if prompt.queued && !std::mem::replace(&mut prompt.dropping, true) {
                // Should it be handed over meanwhile, it is found in its turn.
                found.push(Waiting::InQueue(prompt.client_id.clone()));
            }
        }
        found
    }

    fn dropped(&mut self, is: impl Fn(&Prompt) -> bool) -> Vec<Ended> {
        self.take(is).into_iter().map(|ended| Ended { cancelled: true, ..ended }).collect()
    }

    fn take(&mut self, is: impl Fn(&Prompt) -> bool) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.open.retain(|prompt| {
            let over = is(prompt);
            if over {
                ended.push(Ended { rpc: prompt.rpc.clone(), cancelled: prompt.cancelled });
            }
            !over
        });
        ended
    }
}

/// Where a prompt is that is taken back.
#[derive(Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Behind a turn; by this id it is taken out.
    InQueue(String),
    /// The turn is its own.
    InTurn,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use octo_protocol::ClientId;
    use octo_protocol::event::InputKind;
    use serde_json::json;

    fn queued(ids: &[&str]) -> Vec<QueuedInput> {
        let queued =
            |id: &&str| QueuedInput { kind: InputKind::FollowUp, message: String::new(), client_id: Some(ClientId::new(*id).unwrap()) };
        ids.iter().map(queued).collect()
    }

    fn rpcs(ended: &[Ended]) -> Vec<(i64, bool)> {
        ended.iter().map(|ended| (ended.rpc.as_i64().unwrap(), ended.cancelled)).collect()
    }

    #[test]
    fn each_prompt_ends_with_its_own_turn() {
        let mut prompts = Prompts::default();
        prompts.add(json!(1), "a".into());
        prompts.accepted("a");
        assert!(prompts.taken("a") && !prompts.taken("of another client"));
        prompts.add(json!(2), "b".into());
        prompts.accepted("b");
        assert!(prompts.queue(&queued(&["b"])).is_empty());
        assert_eq!(rpcs(&prompts.turn_ended()), [(1, false)]);
        prompts.taken("b");
        assert!(prompts.queue(&[]).is_empty());
        assert_eq!(rpcs(&prompts.turn_ended()), [(2, false)]);
        assert!(prompts.is_empty());
    }

    #[test]
    fn what_is_taken_out_of_the_queue_is_answered_as_cancelled() {
        let mut prompts = Prompts::default();
        for (rpc, id) in [(1, "a"), (2, "b"), (3, "c")] {
            prompts.add(json!(rpc), id.into());
            prompts.accepted(id);
        }
        prompts.taken("a");
        prompts.queue(&queued(&["b", "c"]));
        assert_eq!(rpcs(&prompts.queue(&queued(&["c"]))), [(2, true)]);
        assert_eq!(rpcs(&prompts.parked(&queued(&["c"]))), [(3, true)]);
        prompts.cancel();
        assert_eq!(rpcs(&prompts.turn_ended()), [(1, true)]);
    }

    #[test]
    fn one_that_is_taken_back_is_dropped_or_aborted_where_it_is_found() {
        let mut prompts = Prompts::default();
        for (rpc, id) in [(1, "a"), (2, "b")] {
            prompts.add(json!(rpc), id.into());
            prompts.accepted(id);
        }
        prompts.taken("a");
        assert!(prompts.cancel_one(&json!(2)) && !prompts.cancel_one(&json!(9)));
        assert!(prompts.taken_back().is_empty(), "it is not known yet where it is, and the turn that runs is another's");
        prompts.queue(&queued(&["b"]));
        assert_eq!(prompts.taken_back(), [Waiting::InQueue("b".into())]);
        assert!(prompts.taken_back().is_empty(), "once");
        prompts.taken("b");
        assert_eq!(prompts.taken_back(), [Waiting::InTurn]);
    }

    #[test]
    fn one_that_is_sent_again_after_its_end_is_answered_at_once() {
        let mut prompts = Prompts::default();
        prompts.taken("a");
        prompts.add(json!(1), "a".into());
        assert_eq!(rpcs(&prompts.answered("a", false).into_iter().collect::<Vec<_>>()), [(1, false)]);
        prompts.add(json!(2), "a".into());
        assert!(prompts.answered("a", true).is_none(), "its turn runs");
        assert_eq!(rpcs(&prompts.turn_ended()), [(2, false)]);
    }
}
