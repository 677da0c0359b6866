//! The `agent` channel towards the client: events and responses, and the envelope around a payload that is already JSON.

use crate::event::EventFrame;
use crate::ids::Epoch;
use crate::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use ts_rs::TS;

/// What the server sends on the `agent` channel.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema, TS)]
#[serde(untagged)]
pub enum AgentFrame {
    Event(Box<EventFrame>),
    Response(Box<Response>),
}

// By hand, so that an error names what is wrong instead of "did not match any variant".
impl<'de> Deserialize<'de> for AgentFrame {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.get("event").and_then(serde_json::Value::as_str) == Some("response") {
            Response::deserialize(value).map(|r| Self::Response(Box::new(r))).map_err(D::Error::custom)
        } else {
            EventFrame::deserialize(value).map(|e| Self::Event(Box::new(e))).map_err(D::Error::custom)
        }
    }
}

/// Where an event came from and where it stands: the envelope that the control plane writes around a payload.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub session_id: &'a str,
    pub runner_id: &'a str,
    /// Unix milliseconds.
    pub ts: i64,
    pub epoch: &'a Epoch,
    /// `None` on events that are not journalled.
    pub seq: Option<u64>,
}

/// Writes `{"channel":"agent", …envelope…, …payload…}` without parsing the payload.
///
/// Returns `None` when `payload` is not a JSON object with at least one member; that it is well-formed inside is for the caller to
/// have checked once, since it comes from the user's uid.
#[must_use]
pub fn envelope(header: Envelope<'_>, payload: &[u8]) -> Option<Vec<u8>> {
    let body = payload.strip_prefix(b"{")?;
    if body.first() == Some(&b'}') || !body.ends_with(b"}") {
        return None;
    }
    let mut out = Vec::with_capacity(payload.len() + 160 + header.session_id.len());
    out.extend_from_slice(b"{\"channel\":\"agent\",\"session_id\":");
    serde_json::to_writer(&mut out, header.session_id).ok()?;
    out.extend_from_slice(b",\"runner_id\":");
    serde_json::to_writer(&mut out, header.runner_id).ok()?;
    write!(out, ",\"ts\":{},\"epoch\":", header.ts).ok()?;
    serde_json::to_writer(&mut out, header.epoch).ok()?;
    if let Some(seq) = header.seq {
        write!(out, ",\"seq\":{seq}").ok()?;
    }
    out.push(b',');
    out.extend_from_slice(body);
    Some(out)
}
