//! What a round is judged by: one more client, who was not there, and what the server has when all is over.

use crate::checker::is_delta;
use crate::{Client, PATIENCE, request};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// An input that some client sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub session: usize,
    pub client_id: String,
    pub cmd: &'static str,
    /// The last words of its answer, when nobody disturbs that.
    pub expects: Option<String>,
}

/// The name of a session.
#[must_use]
pub fn session_id(session: usize) -> String {
    format!("s{session}")
}

/// What was done to the sessions, so far as it excuses anything.
pub trait Terms {
    /// Whether anything of the agent's own was hit, so that an answer may break off.
    fn is_disturbed(&self, session: usize) -> bool;
    /// Whether an input may rightly never reach the conversation: it was given back, or went down with the agent that had it.
    fn may_lose(&self, session: usize, kind: &str) -> bool;
    /// Whether the runner or an agent of the session was ended, so that what it had may be gone.
    fn ends_agents(&self, session: usize) -> bool;
    /// Whether numbers began anew, so that the events of before are out of reach.
    fn begins_anew(&self) -> bool;
}

/// One session as the server has it in the end.
#[derive(Debug)]
pub struct Journal {
    pub session: String,
    pub number: usize,
    /// Where it ends.
    pub epoch: String,
    pub head: u64,
    /// Every row of the present epoch, as a replay from its beginning gives it.
    pub rows: Vec<Value>,
    pub history: Vec<Value>,
    /// As REST has it; `None` when nobody asked.
    pub rest: Option<Vec<Value>>,
}

/// The client who comes last.
pub struct Judge {
    client: Client,
    /// Where REST is to be asked.
    url: Option<String>,
}

impl Judge {
    /// Judges through `client`, which has seen nothing yet.
    #[must_use]
    pub fn new(client: Client, url: Option<String>) -> Self {
        Self { client, url }
    }

    /// The same through a client that has no connection yet.
    pub async fn connected(mut client: Client, url: Option<String>) -> Self {
        client.reconnect().await;
        Self::new(client, url)
    }

    /// Waits until nothing runs in a session, asks it `message`, and reads all that there is of it.
    pub async fn at_rest(&mut self, number: usize, message: &str, client_id: &str) -> Journal {
        let session = session_id(number);
        self.rests(&session, false).await;
        let end = json!({"cmd": "prompt", "message": message, "client_id": client_id});
        self.insist(&session, &end).await;
        self.rests(&session, true).await;

        // The newest messages first, then everything from the first number on.
        self.insist(&session, &json!({"cmd": "session.attach"})).await;
        self.client.event(&session, |frame| frame["event"] == "replay.end").await.expect("nobody kills any more");
        let epoch = self.client.checker.cursor(&session).expect("it is attached")["epoch"].clone();
        let from = json!({"cmd": "session.attach", "cursor": {"epoch": epoch, "seq": 0}});
        let opened = self.insist(&session, &from).await;
        let known = opened["seq"].as_u64().unwrap_or_default();
        // What the server hears of while it replays may come after the brackets.
        let (mut rows, mut head, mut ended) = (Vec::new(), 0, false);
        while !ended || head < known {
            let frame = self.client.event(&session, |_| true).await.expect("nobody kills any more");
            let Some(seq) = frame["seq"].as_u64() else { continue };
            head = head.max(seq);
            if frame["event"] == "replay.end" {
                ended = true;
            } else {
                rows.push(frame);
            }
        }
        without_pruned(&mut rows);
        let history = self.client.history(&session).await;
        let rest = match &self.url {
            Some(url) => {
                let rest = format!("{url}/api/chat-history/{session}/messages");
                Some(self.read_rest(&rest).await.as_array().cloned().unwrap_or_default())
            }
            None => None,
        };
        let epoch = epoch.as_str().unwrap_or_default().to_owned();
        Journal { session, number, epoch, head, rows, history, rest }
    }

    /// What `GET url` says, asked again while the runner is out of reach: its upgrade may come as late as now.
    async fn read_rest(&self, url: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = request("GET", url, Some(self.client.token()), None).await.expect("octo answers");
            if answer.status == 200 {
                return answer.json();
            }
            assert!(answer.status == 503 && Instant::now() < end, "GET {url}: {} {}", answer.status, answer.json());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until no turn is under way and, when asked, nothing waits for one.
    async fn rests(&mut self, session: &str, whole: bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let state = self.insist(session, &json!({"cmd": "get_state"})).await;
            let failed = state["status"] == "error" && !whole;
            let waits = state["pendingMessageCount"] != 0 && !failed;
            if state["isStreaming"] == false && !waits && state["status"] != "starting" {
                return;
            }
            assert!(Instant::now() < end, "session {session} does not come to rest: {state}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends `command` until it is taken: the runner may be on its way back.
    async fn insist(&mut self, session: &str, command: &Value) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let response = self.client.try_command(session, command.clone()).await.expect("nobody kills any more");
            if response["success"] == true {
                return response["data"].clone();
            }
            assert!(Instant::now() < end, "{command} is never taken: {response}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everybody saw the same, which is what there is, and every input is where it belongs.
    ///
    /// # Panics
    /// When it is not so. `well` is what the last answer says.
    pub fn judge(&self, terms: &dyn Terms, journal: &Journal, well: &str, sent: &[Sent], clients: &[Client]) {
        let Journal { session, rows, history, rest, .. } = journal;
        for checker in clients.iter().map(|client| &client.checker).chain([&self.client.checker]) {
            checker.agrees_with_journal(session, rows);
            checker.agrees_with(session, history);
            if let Some(rest) = rest {
                checker.agrees_with_rest(session, rest);
            }
        }
        // Not always the last: an input of before whose turn came late follows it.
        let answered = history.iter().any(|message| message["role"] == "assistant" && message["parts"][0]["text"] == well);
        assert!(answered, "session {session} works again: {history:?}");
        // Known when the answer to every abort came, and nothing went down with an agent.
        let given_back: Option<Vec<&[String]>> = clients.iter().map(|client| client.checker.given_back(session)).collect();
        let given_back = given_back.filter(|_| !terms.ends_agents(journal.number)).map(|given| given.concat());
        let of_session = || sent.iter().filter(|sent| sent.session == journal.number);
        for input in of_session() {
            let accepted: Vec<_> =
                rows.iter().filter(|r| r["event"] == "input.accepted" && r["client_id"] == input.client_id.as_str()).collect();
            let once = accepted.len() == 1 || (accepted.is_empty() && terms.begins_anew());
            assert!(once, "{} was accepted {} times: {accepted:?}", input.client_id, accepted.len());
            let kind = accepted.first().and_then(|row| row["kind"].as_str()).unwrap_or(input.cmd);
            let said = history.iter().filter(|m| m["client_id"] == input.client_id.as_str()).count();
            assert!(said <= 1, "{} stands {said} times in the conversation", input.client_id);
            assert!(
                said == 1 || terms.may_lose(journal.number, kind),
                "{} ({kind}) was accepted and is not in the conversation",
                input.client_id
            );
            if let Some(given_back) = &given_back {
                let given = given_back.contains(&input.client_id);
                assert!(said == 1 || given, "{} ({kind}) is neither in the conversation, nor did an abort give it back", input.client_id);
                assert!(said == 0 || !given, "{} ({kind}) is in the conversation, and an abort gave it back", input.client_id);
            }
            if let Some(expected) =
                input.expects.as_ref().filter(|_| said == 1 && input.cmd == "prompt" && !terms.is_disturbed(journal.number))
            {
                let at = history.iter().position(|m| m["client_id"] == input.client_id.as_str()).unwrap_or_default();
                let answer = history[at + 1..].iter().take_while(|m| m["role"] != "user").filter(|m| m["role"] == "assistant").last();
                let words = answer.and_then(|m| m["parts"].as_array()?.iter().find(|p| p["type"] == "text")?["text"].as_str());
                assert_eq!(
                    words,
                    Some(expected.as_str()),
                    "nobody touched the agent of {session}, and its answer to {} is not whole",
                    input.client_id
                );
            }
        }
        // What waits for its turn keeps its order.
        let order = |list: &mut dyn Iterator<Item = &Value>| -> Vec<String> {
            list.filter_map(|m| m["client_id"].as_str().map(str::to_owned)).collect()
        };
        let queued = order(&mut rows.iter().filter(|r| r["event"] == "input.accepted" && r["kind"] != "steer"));
        let steered = order(&mut rows.iter().filter(|r| r["event"] == "input.accepted" && r["kind"] == "steer"));
        let said = order(&mut history.iter().filter(|m| m["role"] == "user"));
        // Of what was accepted before numbers began anew nobody can say in which order.
        let said: Vec<_> = said.into_iter().filter(|id| !steered.contains(id) && (!terms.begins_anew() || queued.contains(id))).collect();
        let queued: Vec<_> = queued.into_iter().filter(|id| said.contains(id)).collect();
        assert_eq!(said, queued, "inputs of session {session} changed places");
    }

    /// Ends every agent; the client with what it saw.
    pub async fn close(mut self, journals: &[Journal]) -> Client {
        for journal in journals {
            self.insist(&journal.session, &json!({"cmd": "session.close"})).await;
        }
        self.client
    }
}

/// A replay may come from octo's ring, which still has what the journal pruned at the end of a message: not everybody has to have seen that.
fn without_pruned(rows: &mut Vec<Value>) {
    let id = |row: &Value| match row["event"].as_str() {
        Some("stream.message_end") => row["message"]["id"].as_str().map(str::to_owned),
        Some("stream.message_discarded") => row["message_id"].as_str().map(str::to_owned),
        _ => None,
    };
    let ended: std::collections::HashSet<String> = rows.iter().filter_map(id).collect();
    let is_pruned = |row: &Value| {
        is_delta(row["event"].as_str().unwrap_or_default()) && row["message_id"].as_str().is_some_and(|id| ended.contains(id))
    };
    rows.retain(|row| !is_pruned(row));
}
