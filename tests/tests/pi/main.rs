//! Real pi, old and new, on the demo model through octo's WebSocket: both dialects of its stream, both of its ways to end a run.
//!
//! The old one is installed beside the tests' own by `./test.sh` (`tests/agents/pi-0.73`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

/// A test for each pi.
macro_rules! with_both {
    ($($name:ident),* $(,)?) => {
        mod old {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::Pi::Old).await;
            })*
        }
        mod now {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::Pi::Now).await;
            })*
        }
    };
}

mod bench;
mod conversation;
mod fork;
mod permissions;
mod queue;
mod trouble;

pub use octo_e2e::seen::{find, has, names};
use octo_e2e::{Client, Instance, Options};
use serde_json::{Value, json};

/// Which pi.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pi {
    /// 0.73.1: cumulative snapshots, a run ends with `agent_end` and a question.
    Old,
    /// The one that octo installs: deltas, a run ends with `agent_settled`.
    Now,
}

impl Pi {
    /// A running octo with this pi, and a client.
    pub async fn start(self, config: &str) -> (Instance, Client) {
        let agents_dir = (self == Self::Old).then(octo_e2e::old_pi);
        let mut instance = Instance::new(Options { config: config.to_owned(), agents_dir, ..Options::default() });
        instance.start().await;
        let mut client = Client::connect(&instance).await;
        client.create("s", &instance.workspace()).await;
        (instance, client)
    }
}

pub async fn prompt(client: &mut Client, text: &str) {
    client.command("s", json!({ "cmd": "prompt", "message": text })).await;
}

/// Events up to and including the first that is `wanted`.
pub async fn until(client: &mut Client, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut seen = Vec::new();
    client
        .event("s", |frame| {
            seen.push(frame.clone());
            wanted(frame)
        })
        .await
        .expect("the connection holds");
    seen
}

/// Events up to the end of the turn, whatever it is.
pub async fn to_the_end(client: &mut Client) -> Vec<Value> {
    until(client, |frame| frame["event"] == "agent.idle" || frame["event"] == "agent.error").await
}
