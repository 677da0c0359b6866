//! What holds for the outputs of a whole life of a harness, from `start` to `exited`.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

use octo_harness::Output;
use octo_protocol::event::Event;
use octo_protocol::part::{KnownPart, Part};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Checks start and end pairs, ids, one reply per command, one fate per input, one settlement per run.
pub fn check(what: &str, outputs: &[Output], inputs: &[u64], commands: &[u64]) {
    let mut open_message: Option<String> = None;
    let mut held: HashSet<String> = HashSet::new();
    let mut ended: HashSet<String> = HashSet::new();
    let mut tools: HashSet<String> = HashSet::new();
    let mut questions: HashSet<String> = HashSet::new();
    let mut calls: HashSet<(String, String)> = HashSet::new();
    let mut replies: HashMap<u64, u32> = HashMap::new();
    let mut fates: HashMap<u64, Vec<&str>> = HashMap::new();
    let mut run_shown = false;
    for output in outputs {
        match output {
            Output::Event(Event::MessageStart { message_id, .. }) => {
                assert!(held.is_empty(), "{what}: a message inside another");
                assert!(!ended.contains(message_id), "{what}: id {message_id} twice");
                held.insert(message_id.clone());
                open_message = Some(message_id.clone());
            }
            Output::Event(Event::MessageEnd { message }) => {
                assert!(ended.insert(message.id.clone()), "{what}: {} ended twice", message.id);
                held.remove(&message.id);
            }
            Output::Event(Event::MessageDiscarded { message_id, .. }) => {
                assert!(held.remove(message_id), "{what}: {message_id} discarded without a start");
                assert!(ended.insert(message_id.clone()), "{what}: {message_id} ended twice");
            }
            Output::Event(
                Event::TextDelta { message_id, .. } | Event::ThinkingDelta { message_id, .. } | Event::ToolCallDelta { message_id, .. },
            ) => {
                assert_eq!(open_message.as_ref(), Some(message_id), "{what}: a delta of a message that is not open");
                assert!(!ended.contains(message_id), "{what}: a delta after the end");
            }
            Output::Event(Event::ToolCallStart { message_id, tool_call_id, .. }) => {
                calls.insert((message_id.clone(), tool_call_id.clone()));
            }
            Output::Event(Event::ToolCallEnd { message_id, tool_call_id, .. }) => {
                assert!(calls.contains(&(message_id.clone(), tool_call_id.clone())), "{what}: tool call ended without a start");
            }
            Output::Event(Event::ToolStart { tool_call_id, .. }) => {
                assert!(tools.insert(tool_call_id.clone()), "{what}: tool {tool_call_id} started twice");
            }
            Output::Event(Event::ToolEnd { tool_call_id, .. }) => {
                assert!(tools.remove(tool_call_id), "{what}: tool {tool_call_id} ended without a start");
            }
            Output::Event(Event::AgentInputNeeded { request }) => {
                assert!(questions.insert(request.request_id().to_owned()), "{what}: question asked twice");
            }
            Output::Event(Event::AgentInputResolved { request_id, .. }) => {
                assert!(questions.remove(request_id), "{what}: question {request_id} resolved without being asked");
            }
            Output::Event(Event::AgentWorking { .. }) => run_shown = true,
            Output::Event(event) => assert!(
                !matches!(event.name(), "queue.changed" | "agent.idle" | "agent.error" | "stream.done" | "input.accepted"),
                "{what}: {} is the runner's",
                event.name()
            ),
            Output::Taken { token } => {
                run_shown = true;
                fates.entry(*token).or_default().push("taken");
            }
            Output::Delivered { token } => fates.entry(*token).or_default().push("delivered"),
            Output::Returned { token } => fates.entry(*token).or_default().push("returned"),
            Output::Rejected { token, .. } => fates.entry(*token).or_default().push("rejected"),
            Output::Reply { token, .. } => *replies.entry(*token).or_default() += 1,
            Output::Settled { .. } => {
                assert!(std::mem::take(&mut run_shown), "{what}: settled without a run");
                // A person's own command belongs to no run.
                assert!(tools.iter().all(|call| call.starts_with("bash-")), "{what}: a tool outlives its run");
                assert!(held.is_empty(), "{what}: a message outlives its run");
            }
            Output::Write(bytes) => {
                let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                assert!(value.is_object() && bytes.ends_with(b"\n"), "{what}: not a line with an object");
            }
            Output::Ready | Output::Resume(_) | Output::Models(_) | Output::Unusable(_) => {}
        }
    }
    assert!(held.is_empty(), "{what}: {held:?} never ended");
    assert!(tools.is_empty(), "{what}: {tools:?} never ended");
    assert!(questions.is_empty(), "{what}: {questions:?} never resolved");
    for token in commands {
        assert_eq!(replies.remove(token), Some(1), "{what}: replies to command {token}");
    }
    assert!(replies.is_empty(), "{what}: replies to nobody: {replies:?}");
    for token in inputs {
        let fate = fates.remove(token).unwrap_or_default();
        let expected: [&[&str]; 4] = [&["taken", "delivered"], &["taken", "returned"], &["rejected"], &["returned"]];
        assert!(expected.contains(&fate.as_slice()), "{what}: fate of input {token}: {fate:?}");
    }
    assert!(fates.is_empty(), "{what}: fates of unknown inputs: {fates:?}");
}

/// Checks that the deltas of a message make up the text that it ends with.
pub fn check_deltas(what: &str, outputs: &[Output]) {
    let mut texts: BTreeMap<(String, u32), String> = BTreeMap::new();
    for output in outputs {
        match output {
            Output::Event(
                Event::TextDelta { message_id, delta, content_index } | Event::ThinkingDelta { message_id, delta, content_index },
            ) => texts.entry((message_id.clone(), *content_index)).or_default().push_str(delta),
            Output::Event(Event::MessageEnd { message }) => {
                for (index, part) in message.parts.iter().enumerate() {
                    let streamed = texts.remove(&(message.id.clone(), index as u32));
                    match (part, streamed) {
                        (Part::Known(KnownPart::Text { text, .. }), Some(streamed)) => {
                            assert_eq!(&streamed, text, "{what}: {} part {index}", message.id);
                        }
                        // One provider's thinking ends in blank lines that pi drops from the message.
                        (Part::Known(KnownPart::Thinking { text, .. }), Some(streamed)) => {
                            assert_eq!(streamed.trim_end(), text.trim_end(), "{what}: {} part {index}", message.id);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}
