//! What octo-eavs reads beside the bytes that it passes on: usage in a provider's answer, the model in a request; and a script for the demo model.
//!
//! What must hold: however the bytes are cut, the same is read; a script that is taken keeps its limits, one that is not is refused with a sentence.
//!
//! The first byte says which of them reads the rest, the second how the bytes are cut.

use octo_eavs::demo::script;
use octo_eavs::sniff::{Found, Sniffer};
use octo_eavs::usage::{Tokens, UsageReader};

/// One answer, request or script.
pub fn run(input: &[u8]) {
    let (Some(kind), Some(cut)) = (input.first(), input.get(1)) else { return };
    let (rest, cut) = (&input[2..], usize::from(*cut) + 1);
    match kind % 4 {
        0 => assert_eq!(usage("text/event-stream", rest, cut), usage("text/event-stream", rest, usize::MAX)),
        1 => assert_eq!(usage("application/json", rest, cut), usage("application/json", rest, usize::MAX)),
        2 => {
            let found = sniffed(rest, usize::MAX);
            assert_eq!(sniffed(rest, cut), found);
            agrees(rest, &found);
        }
        _ => played(&String::from_utf8_lossy(rest)),
    }
}

fn usage(content_type: &str, bytes: &[u8], step: usize) -> (Option<Tokens>, Tokens, u64) {
    let mut reader = UsageReader::new(content_type, false);
    bytes.chunks(step).for_each(|piece| reader.feed(piece));
    reader.end();
    let estimate = reader.estimate(10, 100);
    (reader.complete(), estimate, reader.bytes())
}

fn sniffed(bytes: &[u8], step: usize) -> Found {
    let mut sniffer = Sniffer::default();
    bytes.chunks(step).for_each(|piece| sniffer.feed(piece));
    sniffer.found().clone()
}

/// A provider that reads the request sees no other model than the one that was checked.
fn agrees(bytes: &[u8], found: &Found) {
    let Ok(serde_json::Value::Object(request)) = serde_json::from_slice(bytes) else { return };
    match request.get("model") {
        // Longer names are kept as one that no list allows.
        Some(serde_json::Value::String(model)) if bytes.len() <= 512 && found.models.len() < 8 => {
            assert_eq!(found.model(), Some(model.as_str()));
        }
        None => assert_eq!(found.model(), None),
        _ => {}
    }
}

fn played(text: &str) {
    let Some(found) = script::find(text) else { return };
    match script::parse(found) {
        Ok(turns) => {
            assert!((1..=script::MAX_TURNS).contains(&turns.len()));
            for turn in turns {
                assert!(turn.bytes <= script::MAX_BYTES && turn.chunks.is_none_or(|n| (1..=script::MAX_CHUNKS).contains(&n)));
                assert!(turn.tools.len() <= script::MAX_TOOLS && turn.delay.as_millis() <= u128::from(script::MAX_DELAY_MS));
                assert!(turn.failure.is_none_or(|f| (400..600).contains(&f.status) && f.times <= script::MAX_TIMES));
            }
        }
        Err(sentence) => assert!(!sentence.is_empty() && sentence.len() <= text.len() * 8 + 1024),
    }
}
