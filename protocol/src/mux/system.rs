//! The `system` channel: greeting, keep-alive, errors, notices, and the tree of actors as it changes.

use crate::admin::LeftOut;
use crate::event::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Client → server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientSystem {
    Ping {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        id: Option<String>,
    },
    /// Begin to send `actors` frames for the tree below `path`, in place of those of an earlier watch. When absent, all that the account may
    /// see: for admins `/`, for others their own subtree.
    WatchActors {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        path: Option<String>,
    },
    UnwatchActors {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        id: Option<String>,
    },
}

/// One actor as it stands in the directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ActorRow {
    pub path: String,
    pub kind: String,
    /// `starting`, `running`, `stuck`, `restarting`, `degraded`, `stopping` or `stopped`.
    pub state: String,
    pub restarts: u32,
    #[ts(type = "number")]
    pub mailbox: u64,
    #[ts(type = "number")]
    pub processed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub last_error: Option<String>,
    /// What is wrong with it as it sees it itself, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub trouble: Option<String>,
    /// Unix milliseconds.
    #[ts(type = "number")]
    pub started_at: i64,
    /// Messages that may wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub mailbox_limit: Option<u64>,
    /// Milliseconds inside the present message; absent while it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub busy_ms: Option<u64>,
    /// The message that it is inside of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub busy_with: Option<String>,
}

/// Server → client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerSystem {
    /// The first frame of every connection. The members are absent on servers before octo.
    Connected {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        connection_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        server_version: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        protocol: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        resume: Option<bool>,
    },
    Pong {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        id: Option<String>,
    },
    Error {
        error: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        id: Option<String>,
    },
    Notice {
        level: Level,
        message: String,
    },
    /// The server is about to close with 1012; connect again after `retry_after_ms`.
    Shutdown {
        reason: String,
        #[ts(type = "number")]
        retry_after_ms: u64,
    },
    /// To connections that watch, once a second: the rows that changed since the frame before, also when there are none. The first look at the
    /// tree has all rows.
    Actors {
        /// Of the `watch_actors`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        id: Option<String>,
        /// `last_error` is cut short here; inspecting the actor gives all of it.
        rows: Vec<ActorRow>,
        /// Paths at which there is nothing any more.
        gone: Vec<String>,
        /// When the tree was looked at, Unix milliseconds: two looks give a rate. 0 from servers that do not say.
        #[serde(default)]
        #[ts(type = "number")]
        at: i64,
        /// The watch begins here: what the client knew before is over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[ts(optional, as = "Option<bool>")]
        first: bool,
        /// The next frame is of the same look.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[ts(optional, as = "Option<bool>")]
        more: bool,
        /// Trees that should be among the rows and are not; absent while that is as it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        left_out: Option<Vec<LeftOut>>,
    },
}
