//! Takes out what looks like a secret or an address, whoever wrote it and wherever it stands.
//!
//! What is replaced gets a name made of its hash, so that whoever reads the bundle sees where the same thing stands, and cannot get it back: a text
//! that is long and random is not guessed, and a short one (behind `password=`, say) has no name at all.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A word of so many characters with letters and digits in it is taken for a key, a token, a hash: no word of a language looks so.
const RANDOM_CHARS: usize = 20;
/// Words that begin so are keys of somebody, however short.
const PREFIXES: [&str; 12] = ["sk-", "sk_", "pk_", "eavs-", "ghp_", "gho_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "AKIA", "AIza"];
/// What follows one of these words is a secret, whatever it looks like.
const NAMES: [&str; 14] = [
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "authorization",
    "bearer",
    "basic",
    "cookie",
    "auth_token",
    "jwt_secret",
    "master_key",
];
/// Members of JSON that hold somebody's words.
const WORDS: [&str; 14] = [
    "prompt",
    "message",
    "messages",
    "text",
    "content",
    "title",
    "input",
    "output",
    "thinking",
    "stdout",
    "stderr",
    "args",
    "arguments",
    "description",
];
/// Longest line that is kept; the end of a longer one is cut.
const MAX_LINE_CHARS: usize = 2000;

/// What stands for somebody's words.
const LEFT_OUT: &str = "[left out]";
/// What stands for a secret that is known as one by what stands before it.
const NAMED_SECRET: &str = "[secret]";
/// What stands for an address.
const ADDRESS: &str = "[e-mail]";

/// The one scrubber of a bundle; counts what it replaced.
#[derive(Debug, Default)]
pub struct Scrub {
    replaced: u64,
}

impl Scrub {
    /// How much was replaced so far.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// A text of several lines.
    pub fn text(&mut self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
            clean.push_str(&self.line(body));
            clean.push_str(end);
        }
        clean
    }

    /// The lines of a log that octo wrote itself; others (of an agent that writes where it should not, of a panic's message) are counted.
    pub fn log<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> String {
        let (mut clean, mut passed_over) = (String::new(), 0);
        for line in lines {
            if !is_own(line) {
                passed_over += 1;
                continue;
            }
            if passed_over > 0 {
                clean.push_str(&format!("[{passed_over} lines that octo did not write are left out]\n"));
                passed_over = 0;
            }
            clean.push_str(&self.line(line));
            clean.push('\n');
        }
        if passed_over > 0 {
            clean.push_str(&format!("[{passed_over} lines that octo did not write are left out]\n"));
        }
        clean
    }

    /// A value: its texts are scrubbed, and members that hold somebody's words are left out. Counts and flags stay.
    pub fn json(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.json(item)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, value)| {
                    let is_text = matches!(value, Value::String(_) | Value::Array(_) | Value::Object(_));
                    if is_text && WORDS.contains(&name.as_str()) {
                        return (name, Value::from(LEFT_OUT));
                    }
                    if is_text && NAMES.contains(&name.to_ascii_lowercase().as_str()) {
                        self.replaced += 1;
                        return (name, Value::from(NAMED_SECRET));
                    }
                    (self.line(&name), self.json(value))
                })
                .collect(),
            other => other,
        }
    }

    fn line(&mut self, line: &str) -> String {
        let short: String = line.chars().take(MAX_LINE_CHARS).collect();
        let cut = if short.len() < line.len() { " [cut]" } else { "" };
        let without = self.addresses(&short);
        self.words(&without) + cut
    }

    /// `name@host.tld`, and what stands before the @ of a URL.
    fn addresses(&mut self, line: &str) -> String {
        let local = |c: char| c.is_alphanumeric() || "._%+-".contains(c);
        let host = |c: char| c.is_alphanumeric() || ".-".contains(c);
        let (mut clean, mut rest) = (String::new(), line);
        while let Some(at) = rest.find('@') {
            let (before, after) = (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default());
            let credentials =
                before.rfind("://").map(|start| start + 3).filter(|start| !before.get(*start..).unwrap_or("/").contains(['/', ' ']));
            if let Some(start) = credentials {
                clean.push_str(before.get(..start).unwrap_or_default());
                clean.push_str(NAMED_SECRET);
                clean.push('@');
                rest = after;
                self.replaced += 1;
                continue;
            }
            let start = before
                .rfind(|c| !local(c))
                .map_or(0, |place| place + before.get(place..).and_then(|r| r.chars().next()).map_or(1, char::len_utf8));
            let end = after.find(|c| !host(c)).unwrap_or(after.len());
            let (name, domain) = (before.get(start..).unwrap_or_default(), after.get(..end).unwrap_or_default());
            if name.is_empty() || !domain.trim_matches('.').contains('.') {
                clean.push_str(before);
                clean.push('@');
                rest = after;
                continue;
            }
            clean.push_str(before.get(..start).unwrap_or_default());
            clean.push_str(ADDRESS);
            rest = after.get(end..).unwrap_or_default();
            self.replaced += 1;
        }
        clean.push_str(rest);
        clean
    }

    fn words(&mut self, line: &str) -> String {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_+~".contains(c);
        let (mut clean, mut rest, mut said) = (String::new(), line, Said::Nothing);
        while !rest.is_empty() {
            let (between, from) = rest.split_at(rest.find(is_word).unwrap_or(rest.len()));
            clean.push_str(between);
            said = said.then(between);
            let (word, after) = from.split_at(from.find(|c| !is_word(c)).unwrap_or(from.len()));
            rest = after;
            if word.is_empty() {
                continue;
            }
            let before = std::mem::replace(&mut said, Said::of(word));
            if before == Said::Assigned && said == Said::Nothing {
                // Of a secret with a character that ends a word, the rest up to a blank or a quote is one too.
                let end = rest.find(|c: char| c.is_whitespace() || "\"'`,;)}]".contains(c)).unwrap_or(rest.len());
                rest = rest.get(end..).unwrap_or_default();
                clean.push_str(NAMED_SECRET);
                self.replaced += 1;
            } else if is_secret(word) {
                clean.push_str(&format!("[secret {}]", name_of(word)));
                self.replaced += 1;
            } else {
                clean.push_str(word);
            }
        }
        clean
    }
}

/// What was said before a word: nothing, the name of a secret, or that it is this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Named,
    Assigned,
}

impl Said {
    fn of(word: &str) -> Self {
        // Of these the value stands right behind.
        let schemes = ["bearer", "basic"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        match is_name(word) {
            _ if schemes => Self::Assigned,
            true => Self::Named,
            false => Self::Nothing,
        }
    }

    /// After what stands between two words.
    fn then(self, between: &str) -> Self {
        let belongs = between.chars().all(|c| " \t\"':=\\".contains(c));
        match self {
            _ if !belongs => Self::Nothing,
            Self::Named if between.contains([':', '=']) => Self::Assigned,
            same => same,
        }
    }
}

/// Whether a word says that a secret follows.
fn is_name(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    NAMES.contains(&lower.as_str()) || ["_token", "_secret", "_key", "-key", "_password"].iter().any(|end| lower.ends_with(end))
}

fn is_secret(word: &str) -> bool {
    if PREFIXES.iter().any(|prefix| word.len() > prefix.len() + 4 && word.starts_with(prefix)) {
        return true;
    }
    let chars = word.chars().filter(char::is_ascii_alphanumeric).count();
    chars >= RANDOM_CHARS && word.bytes().any(|b| b.is_ascii_digit()) && word.bytes().any(|b| b.is_ascii_alphabetic())
}

fn name_of(word: &str) -> String {
    Sha256::digest(word.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether octo's own logging wrote a line: it begins with its time, is an object with one, or begins with the program's name.
fn is_own(line: &str) -> bool {
    let digits = |text: &str| text.bytes().take(4).all(|b| b.is_ascii_digit());
    let timed = line.len() > 20 && digits(line) && line.as_bytes().get(4) == Some(&b'-') && line.as_bytes().get(10) == Some(&b'T');
    let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    let plain = timed && line.split_whitespace().nth(1).is_some_and(|level| levels.contains(&level));
    let program = ["octo: ", "octo-runner: ", "octo-eavs: "].iter().any(|name| line.starts_with(name));
    let panic = line.starts_with("thread '") && line.contains("panicked at ");
    plain || program || panic || is_own_object(line)
}

fn is_own_object(line: &str) -> bool {
    let object = line.starts_with('{').then(|| serde_json::from_str::<Value>(line).ok()).flatten();
    object.is_some_and(|object| object["timestamp"].is_string() && object["level"].is_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn clean(text: &str) -> String {
        Scrub::default().text(text)
    }

    #[test]
    fn keys_tokens_passwords_and_addresses_are_gone_whatever_stands_around_them() {
        for (text, secret) in [
            ("error=401 for key sk-live-abc123", "sk-live-abc123"),
            ("Authorization: Bearer abc.def", "abc.def"),
            ("authorization=Basic dXNlcjpwdw==", "dXNlcjpwdw"),
            ("password = \"hunter2!x\" next", "hunter2"),
            ("password = \"hunter2!x\" next", "!x"),
            ("metrics_token=\"short\"", "short"),
            ("\"api_key\":\"k\\u00e9y7\"", "k\\u"),
            ("x-api-key: open sesame", "open"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiIsImp0aSI6IjEyMyJ9.c2lnbmF0dXJlMTIzNDU2Nzg5MA", "eyJhbGciOiJIUzI1NiJ9"),
            ("cookie auth_token=abc; path=/", "abc"),
            ("http://user:pass@10.0.0.1/v1", "user:pass"),
            ("mail alice.b+c@example.co.uk now", "alice"),
            ("<bob@example.com>", "bob"),
            ("key 7f3b1c9d2e8a4f605b7c1d2e3f4a5b6c", "7f3b1c9d"),
            ("url https://octo.example.com/?token=abcdef", "abcdef"),
            ("eavs-0a1b2c3d4e5f60718293a4b5c6d7e8f9", "0a1b2c"),
        ] {
            let scrubbed = clean(text);
            assert!(!scrubbed.contains(secret), "{secret:?} is still in {scrubbed:?}");
        }
    }

    #[test]
    fn what_helps_stays() {
        for text in [
            "2026-11-30T13:15:00.123456Z  INFO octo::users: runner linked user=admin pid=4711 software=\"octo-runner 0.1.0\"",
            "octo_journal_commit_seconds_bucket{le=\"0.001\",user=\"admin\",sync=\"full\"} 12",
            "octo_llm_tokens_total{provider=\"demo\",kind=\"cache_read\"} 5.0",
            "/users/admin/runner/sessions/ses_1/agent stuck: has been inside accept for 12 s",
            "Linux 6.8.0-45-generic #45-Ubuntu SMP x86_64",
            "the key admin/ses_1 was revoked; a token expires",
            "@reboot someone@localhost",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn the_same_secret_has_the_same_name_all_over() {
        let text = clean("a 7f3b1c9d2e8a4f605b7c1d2e3f4a5b6c b\nc 7f3b1c9d2e8a4f605b7c1d2e3f4a5b6c 8f3b1c9d2e8a4f605b7c1d2e3f4a5b6c");
        let names: Vec<&str> = text.split("[secret ").skip(1).filter_map(|rest| rest.split(']').next()).collect();
        assert_eq!(names.len(), 3);
        assert!(names[0] == names[1] && names[0] != names[2], "{names:?}");
    }

    #[test]
    fn of_a_log_only_lines_of_octo_stay_and_of_json_no_words() {
        let mut scrub = Scrub::default();
        let log = scrub.log(
            [
                "2026-11-30T13:15:00.1Z  WARN octo: full",
                "the user asked me to delete everything",
                "{\"timestamp\":\"2026-11-30T13:15:00.1Z\",\"level\":\"INFO\",\"fields\":{\"message\":\"serving\"}}",
                "{\"prompt\":\"secret plans\"}",
            ]
            .into_iter(),
        );
        assert!(log.contains("full") && log.contains("serving"), "{log}");
        assert!(!log.contains("delete") && !log.contains("plans") && log.matches("1 lines").count() == 2, "{log}");
        let value = scrub
            .json(json!({ "messages": 3, "message": "words", "deep": [{ "stderr": "words" }], "state": "stuck", "token": { "a": 1 } }));
        assert_eq!(
            value,
            json!({ "messages": 3, "message": "[left out]", "deep": [{ "stderr": "[left out]" }], "state": "stuck", "token": "[secret]" })
        );
    }

    #[test]
    fn whatever_comes_it_goes_through() {
        for text in ["@", "a@b", "://@", "é@é.é", "=", "token=", "password", "token token token x", "\u{2028}@\u{2028}.\u{2028}"] {
            clean(text);
        }
        assert!(clean(&"ü".repeat(5000)).ends_with("[cut]"));
    }
}
