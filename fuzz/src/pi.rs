//! Whole [lives](crate::life) of pi.

use crate::life::{self, Agent, Asked};
use octo_harness::StartOptions;
use octo_harness::pi::Pi;
use serde::Deserialize;
use std::borrow::Cow;

/// One life.
pub fn run(input: &[u8]) {
    life::run::<Pi>(input);
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

impl Agent for Pi {
    const LATE: &'static [u8] = b"{\"type\":\"agent_start\"}\n";
    const HANDED_OVER: bool = false;

    fn fresh() -> Self {
        Self::new(StartOptions::default())
    }

    fn asked(line: &[u8]) -> Option<Asked> {
        let line = serde_json::from_slice::<Line<'_>>(line).ok()?;
        (line.kind != "extension_ui_response").then(|| (line.id.into_owned(), line.kind.into_owned()))
    }

    fn answer((id, kind): &Asked, success: bool, data: &[u8]) -> Vec<u8> {
        let key = if success { "data" } else { "error" };
        let mut line = format!(r#"{{"id":"{id}","type":"response","command":"{kind}","success":{success}"#).into_bytes();
        if !data.is_empty() {
            line.extend_from_slice(format!(r#","{key}":"#).as_bytes());
            line.extend_from_slice(data);
        }
        line.extend_from_slice(b"}\n");
        line
    }
}
