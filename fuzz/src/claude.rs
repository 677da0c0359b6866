//! Whole [lives](crate::life) of Claude Code. What octo's uuids and ids are is known: they count up.

use crate::life::{self, Agent, Asked};
use octo_harness::StartOptions;
use octo_harness::claude::Claude;
use serde::Deserialize;
use std::borrow::Cow;

/// One life.
pub fn run(input: &[u8]) {
    life::run::<Claude>(input);
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    request_id: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

impl Agent for Claude {
    const LATE: &'static [u8] = b"{\"type\":\"system\",\"subtype\":\"init\"}\n";
    const HANDED_OVER: bool = true;

    fn fresh() -> Self {
        Self::new(StartOptions::default())
    }

    fn asked(line: &[u8]) -> Option<Asked> {
        let line = serde_json::from_slice::<Line<'_>>(line).ok()?;
        (line.kind == "control_request").then(|| (line.request_id.into_owned(), line.kind.into_owned()))
    }

    fn answer((id, _): &Asked, success: bool, data: &[u8]) -> Vec<u8> {
        let (subtype, key) = if success { ("success", "response") } else { ("error", "error") };
        let mut line = format!(r#"{{"type":"control_response","response":{{"subtype":"{subtype}","request_id":"{id}""#).into_bytes();
        if !data.is_empty() {
            line.extend_from_slice(format!(r#","{key}":"#).as_bytes());
            line.extend_from_slice(data);
        }
        line.extend_from_slice(b"}}\n");
        line
    }
}
