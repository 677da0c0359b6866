//! Frames of the mux WebSocket, as a client may send them.
//!
//! What must hold: whatever is read is written and read again as the same; an error names the `id` of the frame if it has one, and for a command its
//! name, so that the client gets its one response; an error is short, however long the frame was; nothing nests deeper than is read again.

use crate::json::assert_same;
use octo_protocol::mux::system::ServerSystem;
use octo_protocol::mux::{ClientFrame, FrameError, ServerFrame};
use octo_protocol::{Command, CommandFrame, SessionId};
use serde_json::Value;

/// Longest sentence about a frame that cannot be read, in bytes.
const SENTENCE: usize = 4096;

/// One frame.
pub fn run(input: &[u8]) {
    // What is no text is refused before it is read.
    let Ok(text) = std::str::from_utf8(input) else { return };
    match ClientFrame::parse(text) {
        Ok(frame) => read(text, &frame),
        Err(error) => refused(text, &error),
    }
}

fn read(text: &str, frame: &ClientFrame) {
    let written = serde_json::to_string(frame).expect("a frame that was read can be written");
    match ClientFrame::parse(&written) {
        Ok(again) => assert_same(&again, frame, &written),
        Err(error) => panic!("{written} cannot be read again: {error}"),
    }
    if let ClientFrame::Agent(command) = frame {
        let sent: Value = serde_json::from_str(text).expect("a command is JSON");
        assert_eq!(sent.get("id").and_then(Value::as_str), command.id.as_deref());
        assert_eq!(sent.get("cmd").and_then(Value::as_str), Some(command.command.name()));
        assert!(Command::NAMES.contains(&command.command.name()));
        // How it travels to the runner.
        let json = serde_json::to_string(command).expect("a command can be written");
        assert_same(&serde_json::from_str::<CommandFrame>(&json).expect("and read by the runner"), command, &json);
        if let Ok(session) = SessionId::new(&*command.session_id) {
            assert_eq!(session.as_str(), command.session_id);
        }
    }
}

fn refused(text: &str, error: &FrameError) {
    assert!(error.reason.len() <= SENTENCE, "an error of {} bytes about a frame of {}", error.reason.len(), text.len());
    // What is JSON for octo, with no member twice, has its id named.
    if let Ok(Value::Object(sent)) = serde_json::from_str::<Value>(text) {
        let member = |name: &str| sent.get(name).and_then(Value::as_str);
        assert_eq!(error.id.as_deref(), member("id"), "{error}");
        if let (Some("agent"), Some(cmd)) = (member("channel"), member("cmd")) {
            let failed = error.command.as_ref().expect("a command gets its response");
            assert_eq!(failed.cmd, cmd);
            assert_eq!(failed.session_id, member("session_id").unwrap_or_default());
        }
    }
    let reply = ServerFrame::System(ServerSystem::Error { error: error.to_string(), id: error.id.clone() });
    let written = serde_json::to_string(&reply).expect("an error can be written");
    assert_eq!(serde_json::from_str::<ServerFrame>(&written).expect("and read"), reply);
}
