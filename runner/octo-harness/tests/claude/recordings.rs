//! Recordings of real processes, decoded.

use crate::invariants;
use crate::replay::{load, names, replay, replay_with};
use octo_harness::claude::Claude;
use octo_harness::{Harness, Output, StartOptions};
use octo_protocol::event::Event;
use std::fmt::Write as _;

fn shorten(text: &str) -> String {
    let text = text.replace('\n', "\\n");
    match text.char_indices().nth(200) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

fn short(outputs: &[Output]) -> String {
    let mut text = String::new();
    for output in outputs {
        let line = match output {
            Output::Event(event) => {
                let mut value = serde_json::to_value(event).unwrap();
                let name = value.as_object_mut().unwrap().remove("event").unwrap();
                format!("{} {}", name.as_str().unwrap(), value)
            }
            Output::Write(bytes) => format!("> {}", String::from_utf8_lossy(bytes).trim()),
            Output::Reply { token, result: Ok(value) } => format!("Reply {token} ok {value}"),
            Output::Reply { token, result: Err(error) } => format!("Reply {token} {}: {error}", error.code.as_str()),
            Output::Rejected { token, error } => format!("Rejected {token} {}: {error}", error.code.as_str()),
            other => format!("{other:?}"),
        };
        writeln!(text, "{}", shorten(&line)).unwrap();
    }
    text
}

#[test]
fn recordings_decode_into_reviewed_events() {
    for name in names() {
        let replayed = replay(&name, usize::MAX);
        insta::assert_snapshot!(name, short(&replayed.outputs));
    }
}

#[test]
fn recordings_decode_the_same_however_they_are_cut() {
    for name in names() {
        let whole = replay(&name, usize::MAX).outputs;
        let size: usize = load(&name).iter().map(|record| record.line.len()).sum();
        let cuts: &[usize] = if size < 60_000 { &[1, 7, 1024] } else { &[1013, 65_536] };
        for cut in cuts {
            assert!(replay(&name, *cut).outputs == whole, "{name} cut every {cut} bytes");
        }
    }
}

/// Another translator goes on, with what crosses an upgrade of the runner: text.
fn another(claude: &mut Claude) {
    let saved = claude.save().unwrap().to_string();
    *claude = Claude::new(StartOptions { provider: "another".into(), ..StartOptions::default() });
    claude.restore(serde_json::from_str(&saved).unwrap()).unwrap();
}

#[test]
fn another_translator_goes_on_with_every_recording() {
    for name in names() {
        let whole = replay(&name, usize::MAX).outputs;
        assert!(replay_with(&name, 997, another).outputs == whole, "{name}");
    }
    for name in ["claude-queue-steer", "claude-questions", "claude-cut"] {
        let whole = replay(name, usize::MAX).outputs;
        assert!(replay_with(name, 37, another).outputs == whole, "{name}");
    }
}

#[test]
fn every_line_of_the_recordings_is_understood() {
    for name in names() {
        let notices = replay(&name, usize::MAX).outputs.into_iter().filter(|output| {
            matches!(output, Output::Event(Event::Notify { message, .. }) if message.contains("does not understand") || message.contains("refused"))
        });
        assert_eq!(notices.count(), 0, "{name}");
    }
}

#[test]
fn starts_and_ends_pair_up_and_every_command_and_input_has_one_end() {
    for name in names() {
        let replayed = replay(&name, usize::MAX);
        invariants::check(&name, &replayed.outputs, &replayed.inputs, &replayed.commands);
        invariants::check_deltas(&name, &replayed.outputs);
        assert!(!replayed.claude.is_working(), "{name}");
    }
}

/// How many runs each recording holds, counted by hand from its prompts.
#[test]
fn every_run_settles_once_and_not_before_queued_messages() {
    let expected = [
        ("claude-simple", 2),
        ("claude-permission", 7),
        ("claude-error-retry", 2),
        ("claude-error-final", 5),
        ("claude-interrupt", 2),
        // Nine prompts, of which one compacts on command and is no run.
        ("claude-compaction", 8),
        // Three prompts, and a turn that Claude Code begins when its sub-agent is done.
        ("claude-question", 4),
        // Two prompts, a follow-up that joins the first run, and a steer message that makes the second one longer.
        ("claude-queue-steer", 2),
        ("claude-octo-tools", 4),
        ("claude-plan-mode", 1),
        // One prompt, and a turn that Claude Code begins when its sub-agent is done.
        ("claude-background-question", 2),
        ("claude-queue-abort", 4),
        ("claude-cut", 3),
        ("claude-lifecycle-sigkill-tool", 1),
        ("claude-lifecycle-eof-idle", 0),
        ("claude-resume-4-unknown", 0),
    ];
    for (name, runs) in expected {
        let replayed = replay(name, usize::MAX);
        let settled = replayed.outputs.iter().filter(|output| matches!(output, Output::Settled { .. })).count();
        assert_eq!(settled, runs, "{name}");
    }
}

#[test]
fn small_recordings_are_the_same_cut_in_two_at_every_byte() {
    for name in ["claude-lifecycle-sigint-stream", "claude-lifecycle-sigterm-tool"] {
        let text: String = load(name).iter().filter(|r| r.dir == "out").map(|r| format!("{}\n", r.line)).collect();
        let bytes = text.as_bytes();
        let decode = |cut: usize| {
            let mut claude = Claude::new(StartOptions::default());
            let mut out = octo_harness::Outbox::new();
            claude.start(0, &mut out);
            claude.stdout(&bytes[..cut], 0, &mut out);
            claude.stdout(&bytes[cut..], 0, &mut out);
            out.drain().collect::<Vec<Output>>()
        };
        let whole = decode(0);
        assert!(whole.iter().any(|output| matches!(output, Output::Event(Event::MessageStart { .. }))), "{name}");
        for cut in 1..bytes.len() {
            assert!(decode(cut) == whole, "{name} cut at byte {cut}");
        }
    }
}
