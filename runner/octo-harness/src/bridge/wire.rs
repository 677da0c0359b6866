//! The connector's lines, both ways.
//!
//! From it: `connected`, `frame` (a frame of the bridge's WebSocket as it came), `lost`, `out_of_reach`. To it: `{"connection": N, "send": {…}}`, a command
//! for the connection N; the connector drops what is for one that is gone.

use crate::harness::{Outbox, Output};
use bytes::Bytes;
use octo_protocol::Epoch;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A connection is there, attached after the cursor that the connector had.
#[derive(Debug, Deserialize)]
pub struct Connected {
    /// Counts the connector's connections.
    pub connection: u64,
    /// The session at the bridge.
    pub session: String,
    /// The agent behind the bridge.
    #[serde(default)]
    pub harness: String,
    /// What the bridge speaks with it.
    #[serde(default)]
    pub protocol: String,
}

/// What came on a connection.
#[derive(Debug, Deserialize)]
pub struct Framed<'a> {
    pub connection: u64,
    #[serde(borrow)]
    pub frame: &'a RawValue,
}

/// A connection is gone; the connector makes another one.
#[derive(Debug, Deserialize)]
pub struct Lost {
    pub connection: u64,
}

/// There has been no connection for a while.
#[derive(Debug, Deserialize)]
pub struct OutOfReach {
    #[serde(default)]
    pub why: String,
}

/// What every frame of the bridge is asked first.
#[derive(Debug, Deserialize)]
pub struct Head<'a> {
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(default)]
    pub epoch: Option<Epoch>,
    #[serde(default)]
    pub seq: Option<u64>,
}

/// Writes a command for a connection.
pub fn write(connection: u64, command: &Value, out: &mut Outbox) {
    let mut line = serde_json::json!({ "connection": connection, "send": command }).to_string();
    line.push('\n');
    out.push(Output::Write(Bytes::from(line)));
}
