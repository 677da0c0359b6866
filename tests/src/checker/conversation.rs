//! Messages, tools, questions and turns of one session, as its events tell them.

use super::Totals;
use super::verdict::{Fault, Rule, Verdict, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

type Judged = Result<(), Fault>;

/// What a client knows of a session's conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    /// Finished messages by their place.
    known: BTreeMap<u64, Value>,
    ids: HashMap<String, u64>,
    /// The place of the next message; unknown until the first.
    next: Option<u64>,
    /// Places `from..to` that a snapshot left out because it had no room.
    left_out: Vec<(u64, u64)>,
    open: HashMap<String, Open>,
    tools: BTreeMap<String, String>,
    questions: BTreeSet<String>,
    turn: Option<Turn>,
    ended: HashSet<String>,
    /// The first turn after an attach may have begun before it.
    joined: bool,
    /// Pruned deltas were passed over since a message last began or ended: the beginning of the one under way may have been among them.
    jumped: bool,
}

/// A part of a message between its start and its end.
fn is_piece(event: &str) -> bool {
    matches!(
        event,
        "stream.text_delta" | "stream.thinking_delta" | "stream.tool_call_start" | "stream.tool_call_delta" | "stream.tool_call_end"
    )
}

/// A message under way.
#[derive(Debug)]
struct Open {
    text: String,
    thinking: String,
    /// No jump went over it.
    whole: bool,
}

#[derive(Debug)]
struct Turn {
    id: String,
    done: u32,
    whole: bool,
}

impl Conversation {
    /// The client goes to another place of the journal: what is open there is told again, but for the beginning of a turn that is `under_way`.
    pub fn moved(&mut self, under_way: bool) {
        self.next = None;
        self.open.clear();
        self.tools.clear();
        self.questions.clear();
        self.turn = None;
        self.ended.clear();
        self.joined = under_way;
    }

    /// Pruned deltas were passed over.
    pub fn jumped(&mut self) {
        self.jumped = true;
        self.open.values_mut().for_each(|open| open.whole = false);
    }

    /// `messages`: the newest ones, whether there are older, how many of the oldest are said to be removed, and whether a turn is under way.
    pub fn snapshot(&mut self, messages: &[Value], has_more: bool, removed: u64, under_way: bool) -> Judged {
        self.moved(under_way);
        let first =
            messages.first().map_or(Some(removed), |m| m["idx"].as_u64()).ok_or_else(|| Fault::new(Rule::Shape, "a message has an idx"))?;
        ensure(has_more || first <= removed, Rule::Lost, || format!("a snapshot that has no more begins with message {first}"))?;
        if first > 0 {
            self.left_out.push((0, first));
        }
        self.next = Some(first);
        messages.iter().try_for_each(|message| self.keep(message))
    }

    fn keep(&mut self, message: &Value) -> Judged {
        let shape = || Fault::new(Rule::Shape, "a finished message has an id and an idx");
        let (id, idx) = (message["id"].as_str().ok_or_else(shape)?, message["idx"].as_u64().ok_or_else(shape)?);
        let next = self.next.unwrap_or(idx);
        ensure(idx <= next, Rule::Lost, || format!("message {idx} came, and the client has none of {next} to {}", idx - 1))?;
        ensure(idx >= next, Rule::Doubled, || format!("message {idx} came, and the client had all up to {} already", next - 1))?;
        if let Some(known) = self.known.get(&idx) {
            ensure(known == message, Rule::Changed, || format!("message {idx} was another one before: {known}"))?;
        }
        let place = self.ids.insert(id.to_owned(), idx);
        ensure(place.is_none_or(|place| place == idx), Rule::Doubled, || format!("message {id} stands at {place:?} and at {idx}"))?;
        self.known.insert(idx, message.clone());
        self.next = Some(idx + 1);
        Ok(())
    }

    /// The next numbered event.
    pub fn follow(&mut self, event: &str, frame: &Value, totals: &mut Totals) -> Judged {
        self.in_turn(event, frame)?;
        let id = frame["message_id"].as_str().unwrap_or_default();
        if self.jumped && is_piece(event) && !self.open.contains_key(id) && !self.has_passed(id) {
            self.open.insert(id.to_owned(), Open { text: String::new(), thinking: String::new(), whole: false });
        }
        // Messages come one after the other.
        self.jumped &= !is_piece(event) && !matches!(event, "stream.message_start" | "stream.message_end" | "stream.message_discarded");
        match event {
            "stream.message_start" => {
                let open = Open { text: String::new(), thinking: String::new(), whole: true };
                ensure(self.open.insert(id.to_owned(), open).is_none(), Rule::Doubled, || format!("message {id} began twice"))?;
                ensure(!self.has_passed(id), Rule::Reordered, || format!("message {id} began after its end"))?;
            }
            "stream.text_delta" => self.begun(id)?.text.push_str(frame["delta"].as_str().unwrap_or_default()),
            "stream.thinking_delta" => self.begun(id)?.thinking.push_str(frame["delta"].as_str().unwrap_or_default()),
            "stream.tool_call_start" | "stream.tool_call_delta" | "stream.tool_call_end" => drop(self.begun(id)?),
            "stream.message_discarded" => {
                self.open.remove(id);
            }
            "stream.message_end" => self.finished(&frame["message"], totals)?,
            "tool.start" => {
                let call = frame["tool_call_id"].as_str().unwrap_or_default();
                let before = self.tools.insert(call.to_owned(), frame["name"].as_str().unwrap_or_default().to_owned());
                ensure(before.is_none(), Rule::Doubled, || format!("tool call {call} began twice"))?;
                totals.tools += 1;
            }
            "tool.end" => {
                let call = frame["tool_call_id"].as_str().unwrap_or_default();
                ensure(self.tools.remove(call).is_some(), Rule::Open, || format!("tool call {call} ended and had not begun"))?;
            }
            "agent.input_needed" => {
                let request = frame["request"]["request_id"].as_str().unwrap_or_default();
                ensure(self.questions.insert(request.to_owned()), Rule::Doubled, || format!("question {request} was asked twice"))?;
            }
            "agent.input_resolved" => {
                self.questions.remove(frame["request_id"].as_str().unwrap_or_default());
            }
            _ => {}
        }
        self.turn_ends(event, frame, totals)
    }

    /// The message has ended, and the client has not gone back before that.
    fn has_passed(&self, id: &str) -> bool {
        self.ids.get(id).is_some_and(|idx| self.next.is_some_and(|next| *idx < next))
    }

    fn begun(&mut self, id: &str) -> Result<&mut Open, Fault> {
        let ended = self.has_passed(id);
        self.open.get_mut(id).ok_or_else(|| match ended {
            true => Fault::new(Rule::Reordered, format!("a piece of message {id} came after its end")),
            false => Fault::new(Rule::Lost, format!("a piece of message {id} came, and its beginning did not")),
        })
    }

    fn finished(&mut self, message: &Value, totals: &mut Totals) -> Judged {
        self.keep(message)?;
        totals.messages += 1;
        let Some(open) = self.open.remove(message["id"].as_str().unwrap_or_default()) else { return Ok(()) };
        if !open.whole {
            return Ok(());
        }
        for (kind, streamed) in [("text", &open.text), ("thinking", &open.thinking)] {
            let parts = message["parts"].as_array().into_iter().flatten().filter(|part| part["type"] == kind);
            let said: String = parts.filter_map(|part| part["text"].as_str()).collect();
            ensure(*streamed == said, Rule::Deltas, || {
                format!("the {kind} of message {} is {said:?}, and its deltas were {streamed:?}", message["id"])
            })?;
        }
        totals.whole_messages += 1;
        Ok(())
    }

    fn in_turn(&mut self, event: &str, frame: &Value) -> Judged {
        let Some(id) = frame["turn_id"].as_str() else { return Ok(()) };
        ensure(!self.ended.contains(id), Rule::Turn, || format!("turn {id} has ended, and then came its {event}"))?;
        match &mut self.turn {
            Some(turn) if turn.id == id => {}
            Some(turn) => return Err(Fault::new(Rule::Turn, format!("turn {id} began, and turn {} had not ended", turn.id))),
            None => self.turn = Some(Turn { id: id.to_owned(), done: 0, whole: !self.joined }),
        }
        self.joined = false;
        if let Some(turn) = self.turn.as_mut().filter(|_| event == "stream.done") {
            turn.done += 1;
            ensure(turn.done == 1, Rule::Turn, || format!("turn {id} was done twice"))?;
        }
        Ok(())
    }

    fn turn_ends(&mut self, event: &str, frame: &Value, totals: &mut Totals) -> Judged {
        if !(event == "agent.idle" || event == "agent.error") || frame["turn_id"].as_str().is_none() {
            return Ok(());
        }
        let Some(turn) = self.turn.take() else { return Ok(()) };
        ensure(turn.done == 1 || !turn.whole, Rule::Turn, || format!("turn {} ended without its stream.done", turn.id))?;
        self.at_rest()?;
        self.ended.insert(turn.id);
        totals.turns += 1;
        Ok(())
    }

    /// Nothing is open.
    pub fn at_rest(&self) -> Judged {
        ensure(self.open.is_empty(), Rule::Open, || format!("messages that began and did not end: {:?}", self.open.keys()))?;
        // A person's own command belongs to no turn, and may outlast one.
        let open: Vec<_> = self.tools.iter().filter(|(call, _)| !call.starts_with("bash-")).collect();
        ensure(open.is_empty(), Rule::Open, || format!("tools that began and did not end: {open:?}"))?;
        ensure(self.questions.is_empty(), Rule::Open, || format!("questions that were neither answered nor closed: {:?}", self.questions))?;
        let open = self.turn.as_ref().map(|turn| &turn.id);
        ensure(open.is_none(), Rule::Turn, || format!("turn {} did not end", open.map_or("", String::as_str)))
    }

    /// Compares with history in its canonical form, oldest first and whole.
    pub fn agrees_with(&self, session: &str, history: &[Value]) -> Result<(), Box<Verdict>> {
        let mut ids = HashSet::new();
        for (at, stored) in history.iter().enumerate() {
            let judge = |verdict: Judged| verdict.map_err(|fault| Verdict::within(fault, session, history, Some(at)));
            let idx = at as u64;
            judge(ensure(stored["idx"].as_u64() == Some(idx), Rule::History, || {
                format!("history has no message {idx}, but {}", stored["idx"])
            }))?;
            let id = stored["id"].as_str().unwrap_or_default();
            judge(ensure(ids.insert(id), Rule::Doubled, || format!("message {id} stands twice in history")))?;
            match self.known.get(&idx) {
                Some(known) => judge(ensure(known == stored, Rule::History, || format!("the client saw another message {idx}: {known}")))?,
                None => judge(ensure(self.left_out.iter().any(|(from, to)| (*from..*to).contains(&idx)), Rule::Lost, || {
                    format!("history has message {idx}, and the client never saw it")
                }))?,
            }
        }
        if let Some((idx, message)) = self.known.range(history.len() as u64..).next() {
            let fault =
                Fault::new(Rule::History, format!("the client saw message {idx}, and history ends at {}: {message}", history.len()));
            return Err(Verdict::within(fault, session, history, history.len().checked_sub(1)));
        }
        // What was known from before a resync has to be given again, or to stand in the snapshot.
        let next = self.next.unwrap_or(history.len() as u64);
        let given = ensure(next == history.len() as u64, Rule::Lost, || format!("the client was given the messages before {next} only"));
        given.and_then(|()| self.at_rest()).map_err(|fault| Verdict::within(fault, session, history, usize::try_from(next).ok()))
    }

    /// Compares with the chat history that REST serves, oldest first and whole.
    pub fn agrees_with_rest(&self, session: &str, rest: &[Value]) -> Result<(), Box<Verdict>> {
        let texts = |message: &Value| -> Vec<String> {
            // REST calls the kind of a part otherwise, for the clients that it is for.
            let is_text = |part: &&Value| part["type"] == "text" || part["part_type"] == "text";
            let parts = message["parts"].as_array().into_iter().flatten().filter(is_text);
            parts.filter_map(|part| part["text"].as_str().map(str::to_owned)).collect()
        };
        for (at, stored) in rest.iter().enumerate() {
            let judge = |verdict: Judged| verdict.map_err(|fault| Verdict::within(fault, session, rest, Some(at)));
            let Some(known) = self.known.get(&(at as u64)) else {
                let allowed = self.left_out.iter().any(|(from, to)| (*from..*to).contains(&(at as u64)));
                judge(ensure(allowed, Rule::Lost, || format!("REST has a message {at}, and the client never saw it")))?;
                continue;
            };
            for key in ["id", "role", "client_id"] {
                let equal = known[key] == stored[key];
                judge(ensure(equal, Rule::History, || format!("REST has another {key} of message {at}: the client saw {}", known[key])))?;
            }
            let equal = texts(known) == texts(stored);
            judge(ensure(equal, Rule::History, || format!("REST has another text of message {at}: the client saw {:?}", texts(known))))?;
        }
        let beyond = self.known.range(rest.len() as u64..).next();
        beyond.map_or(Ok(()), |(idx, message)| {
            let fault = Fault::new(Rule::History, format!("the client saw message {idx}, and REST ends at {}: {message}", rest.len()));
            Err(Verdict::within(fault, session, rest, rest.len().checked_sub(1)))
        })
    }

    /// Finished messages in their order.
    pub fn messages(&self) -> impl Iterator<Item = &Value> {
        self.known.values()
    }
}
