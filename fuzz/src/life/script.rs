//! The language of an input: lines of an agent, and between them what the runner does. Readable, so that a corpus can be read.
//!
//! | line | meaning |
//! |---|---|
//! | `!p TEXT`, `!s TEXT`, `!f TEXT` | a prompt, a steer message, a follow-up |
//! | `!c JSON` | a command of the `agent` channel, such as `{"cmd":"abort"}` |
//! | `!q` | a probe |
//! | `!+N JSON`, `!-N JSON` | the agent answers its Nth command that has no answer yet: with this data, or refuses with this error |
//! | `!w N` | N milliseconds pass |
//! | `!k N` | all that it writes comes in pieces of N bytes too, and must mean the same |
//! | anything else | the agent writes this line |

use octo_protocol::Command;
use octo_protocol::event::InputKind;

/// Longest time that passes at once, in milliseconds.
const MAX_WAIT: i64 = 1 << 40;

/// One thing that happens.
#[derive(Debug)]
pub enum Step<'a> {
    /// The agent writes.
    Bytes(&'a [u8]),
    Answer {
        success: bool,
        which: usize,
        data: &'a [u8],
    },
    Input(InputKind, String),
    Command(Box<Command>),
    Probe,
    Wait(i64),
}

/// What happens, in order.
#[derive(Debug)]
pub struct Script<'a> {
    pub steps: Vec<Step<'a>>,
    /// Size of the pieces in which the agent's bytes come as well.
    pub cut: Option<usize>,
}

/// Reads an input; whatever it is, it means something.
#[must_use]
pub fn read(input: &[u8]) -> Script<'_> {
    let mut script = Script { steps: Vec::new(), cut: None };
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let Some(directive) = line.strip_prefix(b"!") else {
            script.steps.push(Step::Bytes(line));
            continue;
        };
        let directive = directive.strip_suffix(b"\n").unwrap_or(directive);
        let (kind, rest) = directive.split_first().map_or((0, &[][..]), |(kind, rest)| (*kind, rest));
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(0);
        let text = || String::from_utf8_lossy(rest).trim_start().to_owned();
        let step = match kind {
            b'p' => Step::Input(InputKind::Prompt, text()),
            b's' => Step::Input(InputKind::Steer, text()),
            b'f' => Step::Input(InputKind::FollowUp, text()),
            b'q' => Step::Probe,
            b'w' => Step::Wait(i64::from(number(rest)).min(MAX_WAIT)),
            b'+' | b'-' => {
                Step::Answer { success: kind == b'+', which: number(&rest[..digits]) as usize, data: rest[digits..].trim_ascii() }
            }
            b'k' => {
                script.cut = Some(number(rest).clamp(1, 4096) as usize);
                continue;
            }
            b'c' => match serde_json::from_slice(rest) {
                Ok(command) => Step::Command(Box::new(command)),
                Err(_) => continue,
            },
            _ => continue,
        };
        script.steps.push(step);
    }
    script
}
