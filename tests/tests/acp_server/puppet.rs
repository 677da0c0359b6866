//! An official SDK as a client: a program of its own that does what it is told (`tests/acp/client.mjs`, `tests/acp/client.py`).

use octo_e2e::{Client as Mux, Instance, PATIENCE, binary, node, repository};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

/// Which SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    TypeScript,
    Python,
}

/// The way to octo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `octo acp`, started by the SDK.
    Stdio,
    /// `/acp` as a WebSocket.
    Socket,
    /// `/acp` over HTTP.
    Http,
}

fn installed(variable: &str, name: &str, probe: &str) -> PathBuf {
    let cache = || {
        let of_env = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        of_env.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"))).map(|dir| dir.join("octo").join(name))
    };
    let dir = std::env::var_os(variable).map(PathBuf::from).or_else(cache).unwrap_or_default();
    assert!(dir.join(probe).exists(), "the official ACP client is not installed in {}: ./test.sh installs it", dir.display());
    dir
}

/// A client. Dropping it ends it, and the agent that it started.
pub struct Puppet {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Mutex<Receiver<Value>>,
    next: u64,
    /// All that it said, in order.
    pub log: Vec<Value>,
    /// How much of it was looked at by [`Puppet::until`].
    at: usize,
}

impl Puppet {
    /// An SDK, by a way, with a token.
    pub fn start(sdk: Sdk, way: Way, instance: &Instance, token: &str) -> Self {
        Self::start_with(sdk, way, instance, token, &[])
    }

    /// The same with further arguments of `octo acp`.
    pub fn start_with(sdk: Sdk, way: Way, instance: &Instance, token: &str, more: &[&str]) -> Self {
        let target = match way {
            Way::Stdio => {
                let octo = binary("octo").display().to_string();
                let command: Vec<&str> = [octo.as_str(), "acp"].into_iter().chain(more.iter().copied()).collect();
                json!({"transport": "stdio", "command": command, "env": {"OCTO_AUTH_TOKEN": token, "HOME": instance.home()}})
            }
            Way::Socket => json!({"transport": "ws", "url": format!("{}/acp", instance.url()), "token": token}),
            Way::Http => json!({"transport": "http", "url": format!("{}/acp", instance.url()), "token": token}),
        };
        let clients = repository().join("tests/acp");
        let mut command = match sdk {
            Sdk::TypeScript => {
                let mut command = Command::new(node());
                command.arg(clients.join("client.mjs"));
                command.env("OCTO_TEST_ACP_SDK", installed("OCTO_TEST_ACP_SDK", "acp-sdk", "node_modules/@agentclientprotocol/sdk"));
                command
            }
            Sdk::Python => {
                let mut command = Command::new(installed("OCTO_TEST_ACP_PYTHON", "acp-python", "bin/python").join("bin/python"));
                command.arg(clients.join("client.py"));
                command
            }
        };
        command.env_remove("OCTO_AUTH_TOKEN").env_remove("OCTO_SERVER_URL").env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        let mut child = command.arg(target.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (say, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the client says {line}"));
                if say.send(value).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, said: Mutex::new(said), next: 0, log: Vec::new(), at: 0 }
    }

    fn tell(&mut self, told: &Value) {
        let stdin = self.stdin.as_mut().expect("it is still told things");
        writeln!(stdin, "{told}").unwrap();
        stdin.flush().unwrap();
    }

    /// Begins a request.
    pub fn begin(&mut self, method: &str, params: &Value) -> u64 {
        self.next += 1;
        self.tell(&json!({"do": "request", "id": self.next, "method": method, "params": params}));
        self.next
    }

    pub fn notify(&mut self, method: &str, params: &Value) {
        self.tell(&json!({"do": "notify", "method": method, "params": params}));
    }

    /// Takes a request back, as the SDK does it.
    pub fn take_back(&mut self, id: u64) {
        self.tell(&json!({"do": "take_back", "id": id}));
    }

    /// The next thing that it says, from where [`Puppet::until`] stands.
    fn next(&mut self) -> Value {
        if self.at == self.log.len() {
            let said = match self.said.lock().unwrap().recv_timeout(PATIENCE) {
                Ok(said) => said,
                Err(RecvTimeoutError::Timeout) => panic!("the client says nothing any more; it said {:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => panic!("the client has ended; it said {:#?}", self.log),
            };
            self.log.push(said);
        }
        self.at += 1;
        self.log[self.at - 1].clone()
    }

    /// Waits until it says this.
    pub fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let said = self.next();
            if is(&said) {
                return said;
            }
        }
    }

    /// The end of a request, whatever was said meanwhile, or before.
    pub fn end(&mut self, id: u64) -> Value {
        let is = |said: &Value| said["id"] == id && (said["said"] == "result" || said["said"] == "error");
        if let Some(found) = self.log[..self.at].iter().find(|said| is(said)) {
            return found.clone();
        }
        self.until(is)
    }

    /// A request that succeeds.
    pub fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        let end = self.end(id);
        assert_eq!(end["said"], "result", "{method}: {end}");
        end["result"].clone()
    }

    /// A request that fails.
    pub fn refused(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        let end = self.end(id);
        assert_eq!(end["said"], "error", "{method}: {end}");
        end
    }

    pub fn initialize(&mut self) -> Value {
        self.request("initialize", &json!({"protocolVersion": 1, "clientCapabilities": {}}))
    }

    /// A new session in the instance's workspace; its id.
    pub fn new_session(&mut self, instance: &Instance) -> String {
        let new = self.request("session/new", &json!({"cwd": instance.workspace(), "mcpServers": []}));
        new["sessionId"].as_str().unwrap().to_owned()
    }

    /// Begins a prompt.
    pub fn begin_prompt(&mut self, session: &str, text: &str) -> u64 {
        self.begin("session/prompt", &json!({"sessionId": session, "prompt": [{"type": "text", "text": text}]}))
    }

    /// A prompt to its end; why it ended.
    pub fn prompt(&mut self, session: &str, text: &str) -> String {
        let id = self.begin_prompt(session, text);
        let end = self.end(id);
        assert_eq!(end["said"], "result", "{end}");
        end["result"]["stopReason"].as_str().unwrap().to_owned()
    }

    /// The question that is asked next.
    pub fn asked(&mut self) -> Value {
        self.until(|said| said["said"] == "asked")
    }

    /// Chooses an option of a question.
    pub fn choose(&mut self, question: &Value, option: &str) {
        let result = json!({"outcome": {"outcome": "selected", "optionId": option}});
        self.tell(&json!({"do": "answer", "ask": question["ask"], "result": result}));
    }

    /// Fills in a form.
    pub fn accept(&mut self, question: &Value, content: &Value) {
        self.tell(&json!({"do": "answer", "ask": question["ask"], "result": {"action": "accept", "content": content}}));
    }

    pub fn dismiss(&mut self, question: &Value) {
        self.tell(&json!({"do": "answer", "ask": question["ask"], "result": {"outcome": {"outcome": "cancelled"}}}));
    }

    /// Updates of a session so far.
    pub fn updates(&self, session: &str) -> Vec<Value> {
        let of = |said: &&Value| said["said"] == "update" && said["params"]["sessionId"] == session;
        self.log[..self.at].iter().filter(of).map(|said| said["params"]["update"].clone()).collect()
    }

    /// What was said in chunks of this kind, octo's own notices left out.
    pub fn text(&self, session: &str, kind: &str) -> String {
        let updates = self.updates(session);
        let chunks = updates.iter().filter(|update| update["sessionUpdate"] == kind && update["messageId"] != "octo-notice");
        chunks.filter_map(|update| update["content"]["text"].as_str()).collect()
    }

    /// The newest place in a session that was told.
    pub fn cursor(&self, session: &str) -> Value {
        let of = |said: &&Value| said["said"] == "update" && said["params"]["sessionId"] == session;
        let mut cursors = self.log[..self.at].iter().filter(of).map(|said| said["params"]["_meta"]["octo"]["cursor"].clone());
        cursors.rfind(Value::is_object).expect("an update said where the client stands")
    }

    /// Tells it that nothing follows, and waits for its end.
    pub fn leave(mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.kill();
    }
}

/// A token of the first admin.
pub async fn token(instance: &Instance) -> String {
    let (username, password) = instance.credentials();
    Mux::log_in(&instance.url(), &username, &password).await.unwrap()
}
