//! Real pi, old and new, on the demo model through octo's WebSocket: both dialects of its stream, both of its ways to end a run.
//!
//! The old one is installed beside the tests' own by `./test.sh` (`tests/agents/pi-0.73`); without it its tests say that they were skipped.
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

use octo_e2e::{Client, Instance, Options};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Which pi.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pi {
    /// 0.73.1: cumulative snapshots, a run ends with `agent_end` and a question.
    Old,
    /// The one that octo installs: deltas, a run ends with `agent_settled`.
    Now,
}

impl Pi {
    fn agents_dir(self) -> Result<Option<PathBuf>, String> {
        if self == Self::Now {
            return Ok(None);
        }
        let named = std::env::var_os("OCTO_TEST_OLD_AGENTS_DIR").map(PathBuf::from);
        let cache = || {
            let of_env = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            of_env.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"))).map(|dir| dir.join("octo/agents-pi-0.73"))
        };
        let dir = named.or_else(cache).unwrap_or_default();
        if dir.join("node_modules/.bin/pi").exists() {
            Ok(Some(dir))
        } else {
            Err(format!("pi 0.73.1 is not installed in {}", dir.display()))
        }
    }

    /// A running octo with this pi, and a client. `None` when it is not installed, which is said.
    pub async fn start(self, config: &str) -> Option<(Instance, Client)> {
        let agents_dir = match self.agents_dir() {
            Ok(dir) => dir,
            Err(why) => {
                eprintln!("skipped: {why}");
                return None;
            }
        };
        let mut instance = Instance::new(Options { config: config.to_owned(), agents_dir, ..Options::default() });
        instance.start().await;
        let mut client = Client::connect(&instance).await;
        client.create("s", &instance.workspace()).await;
        Some((instance, client))
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

pub fn find<'a>(seen: &'a [Value], name: &str) -> &'a Value {
    seen.iter().find(|frame| frame["event"] == name).unwrap_or_else(|| panic!("no {name} in {}", names(seen)))
}

pub fn has(seen: &[Value], name: &str) -> bool {
    seen.iter().any(|frame| frame["event"] == name)
}

pub fn names(seen: &[Value]) -> String {
    seen.iter().map(|frame| frame["event"].as_str().unwrap_or("?")).collect::<Vec<_>>().join(" ")
}
