//! The runner is killed at each step of an input's way: accepted, handed over, journalled, acknowledged. Whatever the step, after the next start
//! the journal is whole, the input reached the agent once at most and is nowhere lost without a word, and sending it again runs nothing twice.

use crate::support::*;
use octo_runner::kill_point::Point;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How an input came out of a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The agent has answered it.
    Answered,
    /// The conversation shows it, and its turn ended as aborted.
    Aborted,
    /// The conversation says that it may not have been read.
    Doubted,
}

struct Scene {
    runner: TestRunner,
    client: Client,
    seen: BTreeMap<u64, Value>,
}

impl Scene {
    async fn start() -> Self {
        let runner = TestRunner::start().await;
        let mut client = runner.client().await;
        client.open("s1", &runner.work()).await;
        client.subscribe(1, "s1", 0).await;
        Self { runner, client, seen: BTreeMap::new() }
    }

    fn arm(&self, point: Point, time: u32) {
        self.runner.arm(&format!("{} {time}", point.name()));
    }

    fn note(&mut self) {
        for event in self.client.events.get_mut(&1).into_iter().flat_map(|events| events.drain(..)) {
            if event.seq > 0 {
                let before = self.seen.insert(event.seq, serde_json::from_slice(&event.payload).unwrap());
                assert!(before.is_none(), "event {} came twice", event.seq);
            }
        }
    }

    /// Reads until the runner is dead; false when it still answers after what was to happen: `over` tells when that is done.
    async fn dies(&mut self, over: impl Fn(&BTreeMap<u64, Value>) -> bool) -> bool {
        let died = tokio::time::timeout(PATIENCE, async {
            let mut asked = None;
            loop {
                self.note();
                if asked.is_none() && over(&self.seen) {
                    // The session answers when it is done with what it does now.
                    asked = Some(self.client.post(Client::command_body("s1", json!({ "cmd": "get_state" }))).await);
                }
                match self.client.frame().await {
                    Some(frame) => self.client.take(frame).await,
                    None => return true,
                }
                if asked.is_some_and(|id| self.client.answered.contains(&id)) {
                    return false;
                }
            }
        });
        let died = died.await.expect("neither died nor done");
        self.note();
        died
    }

    async fn again(&mut self) {
        self.runner.kill().await;
        self.runner.disarm();
        self.runner.spawn().await;
        self.client = self.runner.client().await;
        // The kernel did not start again: what was seen is there under the same numbers, and goes on.
        let after = self.seen.keys().next_back().copied().unwrap_or(0);
        self.client.subscribe(1, "s1", after).await;
    }

    /// Reads until every turn that was begun has ended and nothing waits.
    async fn rests(&mut self) {
        let began = std::time::Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "the session does not come to rest");
            let state = self.client.command("s1", json!({ "cmd": "session.attach" })).await.unwrap();
            let head = state["seq"].as_u64().unwrap();
            while self.seen.keys().next_back().is_none_or(|seq| *seq < head) {
                if self.client.events.get(&1).is_none_or(std::collections::VecDeque::is_empty) {
                    self.client.step().await;
                }
                self.note();
            }
            if state["state"]["status"] == "idle" && state["state"]["pendingMessageCount"] == 0 {
                return;
            }
        }
    }

    /// All that the journal keeps, read anew.
    async fn kept(&mut self) -> BTreeMap<u64, Value> {
        self.client.subscribe(2, "s1", 0).await;
        let head = *self.seen.keys().next_back().unwrap();
        let mut kept = BTreeMap::new();
        while kept.keys().next_back().is_none_or(|seq| *seq < head) {
            let (event, payload) = self.client.event(2).await;
            if event.seq > 0 {
                assert!(kept.insert(event.seq, payload).is_none(), "event {} twice", event.seq);
            }
        }
        kept
    }

    fn received(&self, text: &str) -> usize {
        let log = std::fs::read_to_string(self.runner.root.join("work/received.log")).unwrap_or_default();
        log.lines().filter(|line| *line == text).count()
    }

    /// Sends the input again, and holds what came of it against what is promised.
    async fn judge(mut self, input: Value, what: &str) -> Fate {
        let text = input["message"].as_str().unwrap().to_owned();
        let (id, steer) = (input["client_id"].clone(), input["cmd"] == "steer");
        assert_eq!(self.client.command("s1", input).await, Ok(Value::Null), "{what}: sent again, with the same answer");
        self.rests().await;
        let kept = self.kept().await;
        let of = |name: &str| kept.values().filter(move |p| p["event"] == *name).cloned().collect::<Vec<Value>>();

        let received = self.received(&text);
        assert!(received <= 1, "{what}: the agent got it {received} times");
        let accepted = of("input.accepted").iter().filter(|p| p["client_id"] == id).count();
        assert_eq!(accepted, 1, "{what}: accepted once");
        let messages: Vec<Value> = of("stream.message_end").into_iter().map(|p| p["message"].clone()).collect();
        let users = messages.iter().filter(|m| m["role"] == "user" && m["client_id"] == id).count();
        assert!(users <= 1, "{what}: it stands in the conversation {users} times");

        // What was seen stays: only deltas of finished messages are gone.
        for (seq, payload) in &self.seen {
            match kept.get(seq) {
                Some(kept) => assert_eq!(kept, payload, "{what}: event {seq} is another one now"),
                None => assert!(payload["message_id"].is_string(), "{what}: event {seq} was seen and is lost: {payload}"),
            }
        }
        // What was begun has ended, once.
        for start in of("stream.message_start") {
            let id = &start["message_id"];
            let ends = messages.iter().filter(|m| m["id"] == *id).count()
                + of("stream.message_discarded").iter().filter(|p| p["message_id"] == *id).count();
            assert_eq!(ends, 1, "{what}: the message {id} ended {ends} times");
        }
        let mut turns = BTreeMap::<String, usize>::new();
        for turn in kept.values().filter_map(|p| p["turn_id"].as_str()) {
            turns.entry(turn.to_owned()).or_default();
        }
        for end in of("agent.idle").iter().chain(&of("agent.error")) {
            *turns.entry(end["turn_id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        assert!(turns.values().all(|ends| *ends == 1), "{what}: each turn ends once: {turns:?}");

        let answer = format!("you said: {}", text.strip_prefix("say ").unwrap_or(&text));
        let answered = messages.iter().any(|m| m["parts"][0]["text"].as_str().is_some_and(|t| t.starts_with(&answer)));
        let doubted =
            of("notify").iter().any(|p| p["message"].as_str().is_some_and(|m| m.contains("may not have been read") && m.contains(&text)));
        let aborted = users == 1 && of("stream.done").iter().any(|p| p["reason"] == "aborted");
        match (answered || (steer && users == 1 && !doubted), doubted, aborted) {
            (true, false, _) => Fate::Answered,
            (false, true, _) => Fate::Doubted,
            (false, false, true) => Fate::Aborted,
            other => panic!("{what}: lost without a word: {other:?}, {kept:#?}"),
        }
    }
}

/// Kills at `point`, the `time`-th time that it is reached after the prompt was sent. `None`: it was not reached so often.
async fn prompt_killed_at(point: Point, time: u32) -> Option<Fate> {
    let what = format!("{} {time}", point.name());
    let mut scene = Scene::start().await;
    scene.arm(point, time);
    let prompt = json!({ "cmd": "prompt", "message": "say one", "client_id": "c1" });
    scene.client.post(Client::command_body("s1", prompt.clone())).await;
    if !scene.dies(|seen| seen.values().any(|p| p["event"] == "agent.idle")).await {
        return None;
    }
    scene.again().await;
    Some(scene.judge(prompt, &what).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_survives_a_kill_at_each_step_of_its_way() {
    let full = std::env::var_os("OCTO_FULL").is_some();
    for point in Point::ALL {
        // The first time is the prompt's; under --full also every later one, which are those of what the agent says.
        for time in 1..=if full { 40 } else { 1 } {
            let Some(fate) = prompt_killed_at(point, time).await else {
                assert!(time > 1, "{} is never reached", point.name());
                break;
            };
            println!("{} {time}: {fate:?}", point.name());
            let late = time > 1;
            match point {
                // The journal does not say that the agent has it: it gets it.
                Point::Checked | Point::Accepted | Point::Answered | Point::Ready => assert_eq!(fate, Fate::Answered, "{}", point.name()),
                Point::Written | Point::Committed | Point::Witnessed | Point::Announced if !late => {
                    assert_eq!(fate, Fate::Answered, "{}", point.name());
                }
                // It may have it: it does not get it again.
                Point::Handed | Point::Given if !late => assert_eq!(fate, Fate::Aborted, "{}", point.name()),
                // From here on it may have answered before the kill came.
                _ => assert_ne!(fate, Fate::Doubted),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steer_survives_a_kill_at_each_step_of_its_way_or_is_said_not_to_have_been_read() {
    for point in [Point::Checked, Point::Accepted, Point::Answered, Point::Ready, Point::Handed, Point::Given, Point::Sent] {
        let mut scene = Scene::start().await;
        scene.client.prompt("s1", "hang").await.unwrap();
        let begun = scene.dies(|seen| seen.values().any(|p| p["event"] == "stream.text_delta")).await;
        assert!(!begun);
        scene.arm(point, 1);
        let steer = json!({ "cmd": "steer", "message": "say aside", "client_id": "c2" });
        scene.client.post(Client::command_body("s1", steer.clone())).await;
        assert!(scene.dies(|_| false).await);
        scene.again().await;
        let fate = scene.judge(steer, &format!("steer {}", point.name())).await;
        println!("steer {}: {fate:?}", point.name());
        match point {
            Point::Handed | Point::Given => assert_eq!(fate, Fate::Doubted, "{}", point.name()),
            // The agent may have said that it read it before the kill came.
            Point::Sent => assert_ne!(fate, Fate::Aborted),
            _ => assert_eq!(fate, Fate::Answered, "{}", point.name()),
        }
    }
}
