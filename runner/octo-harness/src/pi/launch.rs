//! How pi is started: its arguments, its environment, and octo's extension for it.
//!
//! Nothing here is secret: the session's virtual key reaches pi by the environment variable [`ENV_EAVS_KEY`], which the runner sets.

use crate::harness::StartOptions;

/// octo's extension for pi: registers the session's providers and asks for permission before every tool call. To be written to a file that ends in `.ts`.
pub const EXTENSION: &str = include_str!("extension/octo.ts");
/// A name for that file.
pub const EXTENSION_FILE: &str = "octo.ts";
/// JSON list of `octo_protocol::provision::ProvisionedProvider`.
pub const ENV_PROVIDERS: &str = "OCTO_PROVIDERS";
/// Base URL of octo-eavs as the agent reaches it, without a slash at its end.
pub const ENV_EAVS_URL: &str = "OCTO_EAVS_URL";
/// The session's virtual key.
pub const ENV_EAVS_KEY: &str = "OCTO_EAVS_KEY";

/// Arguments after the path of pi's program.
#[must_use]
pub fn arguments(options: &StartOptions) -> Vec<String> {
    let mut arguments: Vec<String> = vec!["--mode".into(), "rpc".into()];
    let mut option = |name: &str, value: &str| {
        arguments.push(name.to_owned());
        arguments.push(value.to_owned());
    };
    if let Some(extension) = &options.extension {
        option("-e", extension);
    }
    match (options.provider.as_str(), options.model.as_str()) {
        (_, "") => {}
        ("", model) => option("--model", model),
        (provider, model) => option("--model", &format!("{provider}/{model}")),
    }
    if !options.session_dir.is_empty() {
        option("--session-dir", &options.session_dir);
    }
    if let Some(file) = &options.resume {
        option("--session", file);
    }
    if let Some(level) = options.thinking {
        option("--thinking", level.as_str());
    }
    arguments
}

/// What pi needs in its environment to stay quiet and offline but for its provider.
#[must_use]
pub fn environment() -> Vec<(&'static str, &'static str)> {
    vec![("PI_OFFLINE", "1"), ("PI_TELEMETRY", "0"), ("PI_SKIP_VERSION_CHECK", "1"), ("NO_COLOR", "1")]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use octo_protocol::ThinkingLevel;

    #[test]
    fn the_arguments_say_everything_and_hold_no_secret() {
        let options = StartOptions {
            provider: "demo".into(),
            model: "scripted".into(),
            resume: Some("/s/a.jsonl".into()),
            session_dir: "/s".into(),
            extension: Some("/octo/octo.ts".into()),
            thinking: Some(ThinkingLevel::Low),
            ..StartOptions::default()
        };
        let expected = "--mode rpc -e /octo/octo.ts --model demo/scripted --session-dir /s --session /s/a.jsonl --thinking low";
        assert_eq!(arguments(&options).join(" "), expected);
        assert_eq!(arguments(&StartOptions::default()).join(" "), "--mode rpc");
    }
}
