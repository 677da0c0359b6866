//! A real runner in this process with a few sessions, whose agents are played: what they say goes through its journal.

use octo_protocol::event::Event;
use octo_protocol::{Message, Role, SessionConfig};
use octo_runner::journal::{BOOT_ID_FILE, Batch, Entry, Journal, NewSession, Prune, SessionLog};
use octo_runner::link::Serving;
use octo_runner::options::Options;
use octo_runner::runner::Runner;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sessions whose agents talk.
pub const TALKING: [&str; 2] = ["a", "b"];
/// The session that gets prompts. It has no agent: each prompt ends with the sentence that says so.
pub const PROMPTED: &str = "p";

/// What happens next.
#[derive(Debug, Clone)]
pub enum Step {
    Start(usize),
    Delta(usize, usize),
    End(usize),
    Ephemeral(usize),
    Commit(usize),
    Prompt,
    Ask,
    Breathe,
}

/// What a client has got, by session: number and payload.
pub type Told = BTreeMap<&'static str, BTreeMap<u64, Vec<u8>>>;

struct Talk {
    key: octo_runner::journal::SessionKey,
    log: Arc<SessionLog>,
    head: u64,
    pending: Vec<Entry>,
    /// The message under way: its number, the seq of its start, its text.
    open: Option<(u64, u64, String)>,
    messages: u64,
    /// All that was ever committed.
    said: BTreeMap<u64, Vec<u8>>,
}

pub struct Agent {
    runner: Runner,
    talks: Vec<Talk>,
    _home: tempfile::TempDir,
}

fn new_session(id: &str, cwd: &str) -> NewSession {
    let provision = json!({"eavs_key": "k", "providers": [], "default_provider": "demo", "default_model": "scripted"});
    NewSession {
        id: id.to_owned(),
        epoch: format!("e-{id}").parse().unwrap(),
        harness: "pi".to_owned(),
        cwd: cwd.to_owned(),
        provider: "demo".to_owned(),
        model: "scripted".to_owned(),
        config: SessionConfig::default(),
        provision: provision.to_string(),
        readable_id: format!("readable-{id}"),
        parent: None,
        created_at: 1,
    }
}

impl Agent {
    pub async fn start() -> Self {
        let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = |name: &str| home.path().join(name);
        let boot = std::fs::read_to_string(BOOT_ID_FILE).unwrap();
        std::fs::create_dir(path("data")).unwrap();
        let journal = Journal::open(&path("data"), boot.trim()).unwrap();
        let mut keys = Vec::new();
        for id in TALKING.iter().chain([&PROMPTED]) {
            keys.push(journal.create(new_session(id, home.path().to_str().unwrap())).await.unwrap());
        }
        journal.close().await;
        drop(journal);
        let options = Options {
            user: "alice".to_owned(),
            runner_id: "local".to_owned(),
            socket: path("run/alice.sock"),
            data_dir: path("data"),
            state_dir: path("state"),
            config_dir: path("config"),
            agents_dir: path("agents"),
            eavs_dir: path("llm"),
            server_uid: None,
            pi_sessions_dir: Some(path("pi")),
            // What is never found is never started.
            pi_executable: path("no-agent").display().to_string(),
            claude_sessions_dir: None,
            claude_executable: "claude".to_owned(),
            idle_after_secs: None,
            idle_check_secs: 300,
            keep_events_secs: None,
            keep_messages_secs: None,
            journal_max_bytes: None,
            journal_check_secs: 600,
            agent_memory_bytes: None,
            agent_tasks: 4096,
            agent_open_files: 65_536,
            restart_silent_secs: None,
            handshake_secs: 60,
            permission_default: None,
            permission_tools: Vec::new(),
            permission_timeout_secs: None,
            permission_on_timeout: octo_protocol::PermissionMode::Deny,
            allow_unsandboxed: false,
            bwrap: None,
            foreground: true,
        };
        let runner = Runner::start(options).await.unwrap();
        let talk = |(key, id): (_, &&str)| {
            let log = runner.registry().get(id).unwrap().log().unwrap();
            Talk { key, log, head: 0, pending: Vec::new(), open: None, messages: 0, said: BTreeMap::new() }
        };
        let talks = keys.into_iter().zip(&TALKING).map(talk).collect();
        Self { runner, talks, _home: home }
    }

    pub fn serving(&self) -> Serving {
        self.runner.serving().clone()
    }

    pub fn epochs(&self) -> Vec<(&'static str, String)> {
        TALKING.iter().chain([&PROMPTED]).map(|id| (*id, format!("e-{id}"))).collect()
    }

    pub fn heads(&self) -> Vec<(&'static str, u64)> {
        let head = |id: &&'static str| (*id, self.runner.registry().get(id).unwrap().log().unwrap().head());
        TALKING.iter().chain([&PROMPTED]).map(head).collect()
    }

    pub async fn act(&mut self, step: &Step) {
        let journal = self.runner.registry().shared().journal.clone();
        match *step {
            Step::Start(n) => self.talks[n].start(),
            Step::Delta(n, length) => self.talks[n].delta(length),
            Step::End(n) => self.talks[n].end(),
            Step::Ephemeral(n) => {
                let event = Event::Persisted { message_count: self.talks[n].messages };
                self.talks[n].pending.push(Entry::new(event, None).unwrap());
            }
            Step::Commit(n) => self.talks[n].commit(&journal).await,
            Step::Prompt | Step::Ask | Step::Breathe => {}
        }
    }

    /// Commits what waits.
    pub async fn finish(&mut self) {
        let journal = self.runner.registry().shared().journal.clone();
        for talk in &mut self.talks {
            talk.commit(&journal).await;
        }
    }

    /// Every event that a session's agent ever said, by number.
    pub fn said(&self, id: &str) -> BTreeMap<u64, Value> {
        let at = TALKING.iter().position(|talking| *talking == id).unwrap();
        self.talks[at].said.iter().map(|(seq, payload)| (*seq, serde_json::from_slice(payload).unwrap())).collect()
    }

    /// What the journal has of a session.
    pub async fn kept(&self, id: &str) -> BTreeMap<u64, Value> {
        let kept = self.pages(id).await;
        kept.into_iter().map(|(seq, payload)| (seq, serde_json::from_slice(&payload).unwrap())).collect()
    }

    async fn pages(&self, id: &str) -> BTreeMap<u64, Vec<u8>> {
        let journal = self.runner.registry().shared().journal.clone();
        let row = journal.session(id).await.unwrap().unwrap();
        let (mut cursor, mut kept) = (0, BTreeMap::new());
        loop {
            let page = journal.page(row.key.life, cursor, None).await.unwrap();
            let Some(last) = page.rows.last() else { return kept };
            cursor = last.seq;
            kept.extend(page.rows.into_iter().map(|row| (row.seq, row.packed.payload().to_vec())));
        }
    }

    pub async fn end(self) {
        self.runner.shutdown().await;
    }

    /// Holds what a client has got against the journal.
    pub async fn judge(self, told: Told, prompts: usize) {
        for (id, got) in told {
            let kept = self.pages(id).await;
            for (seq, payload) in &kept {
                assert_eq!(got.get(seq), Some(payload), "event {seq} of {id}, which the journal has");
            }
            let said = TALKING.iter().position(|talking| *talking == id).map(|at| &self.talks[at].said);
            for (seq, payload) in got.iter().filter(|(seq, _)| !kept.contains_key(*seq)) {
                // Seen before it was pruned: then it is what was said at the time.
                assert_eq!(said.and_then(|said| said.get(seq)), Some(payload), "event {seq} of {id}, which the journal does not have");
            }
        }
        let prompted = self.kept(PROMPTED).await;
        let accepted: Vec<&str> =
            prompted.values().filter(|e| e["event"] == "input.accepted").map(|e| e["client_id"].as_str().unwrap()).collect();
        let each: std::collections::BTreeSet<&str> = accepted.iter().copied().collect();
        assert_eq!(
            (accepted.len(), each.len()),
            (prompts, prompts),
            "each prompt is accepted once, however often it was sent: {accepted:?}"
        );
        self.end().await;
    }
}

impl Talk {
    fn next_seq(&self) -> u64 {
        self.head + 1 + self.pending.iter().filter(|entry| entry.is_journalled()).count() as u64
    }

    fn push(&mut self, event: Event) {
        self.pending.push(Entry::new(event, None).unwrap());
    }

    fn start(&mut self) {
        if self.open.is_none() {
            let number = self.messages;
            self.open = Some((number, self.next_seq(), String::new()));
            self.push(Event::MessageStart { message_id: format!("m{number}"), role: Role::Assistant });
        }
    }

    fn delta(&mut self, length: usize) {
        let Some((number, _, text)) = &mut self.open else { return };
        let delta = "x".repeat(length);
        text.push_str(&delta);
        let message_id = format!("m{number}");
        self.push(Event::TextDelta { message_id, delta, content_index: 0 });
    }

    fn end(&mut self) {
        let Some((number, start, text)) = self.open.take() else { return };
        let id = format!("m{number}");
        let message: Message = serde_json::from_value(json!({
            "id": id, "idx": number, "role": "assistant", "created_at": 1, "parts": [{"type": "text", "id": "p", "text": text}],
        }))
        .unwrap();
        self.messages += 1;
        let mut entry = Entry::new(Event::MessageEnd { message }, None).unwrap();
        entry.prune = Some(Prune { item: id, from: start });
        self.pending.push(entry);
    }

    async fn commit(&mut self, journal: &Journal) {
        let entries = std::mem::take(&mut self.pending);
        let batch = Batch { key: self.key, first_seq: self.head + 1, entries, changes: Vec::new(), log: Arc::clone(&self.log) };
        for entry in batch.entries.iter().filter(|entry| entry.is_journalled()) {
            self.head += 1;
            self.said.insert(self.head, entry.packed.payload().to_vec());
        }
        journal.commit(batch).await.unwrap();
    }
}
