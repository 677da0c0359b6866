//! How Claude Code is started: its arguments and its environment.
//!
//! Nothing here is secret: the session's virtual key reaches it by the environment variable [`ENV_KEY`], which the runner sets.

use super::fork;
use crate::harness::StartOptions;

/// Base URL of the model's provider, without `/v1`.
pub const ENV_BASE_URL: &str = "ANTHROPIC_BASE_URL";
/// The key that it sends.
pub const ENV_KEY: &str = "ANTHROPIC_API_KEY";
/// Its own directory: settings, and what it keeps of conversations.
pub const ENV_CONFIG_DIR: &str = "CLAUDE_CONFIG_DIR";
/// Most tokens of one answer.
pub const ENV_MAX_OUTPUT: &str = "CLAUDE_CODE_MAX_OUTPUT_TOKENS";
/// What its names for kinds of models stand for: sub-agents and side requests use them.
pub const ENV_MODELS: [(&str, &str); 3] =
    [("haiku", "ANTHROPIC_DEFAULT_HAIKU_MODEL"), ("sonnet", "ANTHROPIC_DEFAULT_SONNET_MODEL"), ("opus", "ANTHROPIC_DEFAULT_OPUS_MODEL")];
/// The dialect that it speaks with its provider.
pub const API: &str = "anthropic-messages";

/// Arguments after the path of its program.
#[must_use]
pub fn arguments(options: &StartOptions) -> Vec<String> {
    let fixed = "-p --input-format stream-json --output-format stream-json --verbose --include-partial-messages \
                 --permission-prompt-tool stdio --permission-mode default";
    let mut arguments: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
    let mut option = |name: &str, value: &str| {
        // A value that looks like an option would be taken for one.
        if !value.is_empty() && !value.starts_with('-') {
            arguments.push(name.to_owned());
            arguments.push(value.to_owned());
        }
    };
    option("--model", &options.model);
    let (conversation, entry) = fork::parts(options.resume.as_deref().unwrap_or_default());
    option("--resume", conversation);
    if let Some(entry) = fork::entry_id(entry) {
        arguments.push("--fork-session".to_owned());
        arguments.extend(["--resume-session-at", entry].map(str::to_owned));
    }
    arguments
}

/// What it needs in its environment to stay quiet, offline but for its provider, and as it was installed.
#[must_use]
pub fn environment() -> Vec<(&'static str, &'static str)> {
    vec![
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_TELEMETRY", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_BUG_COMMAND", "1"),
        ("DISABLE_COST_WARNINGS", "1"),
        // Ten of them may occupy a turn for minutes.
        ("CLAUDE_CODE_MAX_RETRIES", "5"),
        ("IS_SANDBOX", "1"),
        ("NO_COLOR", "1"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_say_everything_and_hold_no_secret() {
        let options =
            StartOptions { provider: "demo".into(), model: "scripted".into(), resume: Some("abc".into()), ..StartOptions::default() };
        let fixed = "-p --input-format stream-json --output-format stream-json --verbose --include-partial-messages \
                     --permission-prompt-tool stdio --permission-mode default";
        assert_eq!(arguments(&options).join(" "), format!("{fixed} --model scripted --resume abc"));
        let fork = StartOptions { resume: Some("abc@d-1".into()), ..StartOptions::default() };
        assert_eq!(arguments(&fork).join(" "), format!("{fixed} --resume abc --fork-session --resume-session-at d-1"));
        let empty = StartOptions { resume: Some(String::new()), model: "--dangerously-skip-permissions".into(), ..StartOptions::default() };
        assert_eq!(arguments(&empty).join(" "), fixed);
    }
}
