//! Asking octoctl until it names what is wrong.

use octo_e2e::{Client, Instance, Options, PATIENCE, Script};
use serde_json::json;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long the command that names a fault may take.
pub const WITHIN: Duration = Duration::from_secs(2);
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(200);

/// Asks `octoctl <arguments>` until one run of it, which takes no longer than [`WITHIN`], has a line with all of `words`. Gives that line.
///
/// A fault needs a while until it is one (five silent seconds, the third crash): that is waited for here. A run that was slower is not taken, and asked
/// again, so that a busy machine makes this late and not wrong.
pub async fn names(instance: &Instance, arguments: &[&str], words: &[&str]) -> String {
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        let began = Instant::now();
        let output = instance.command("octoctl").args(arguments).stdin(Stdio::null()).output().unwrap();
        let took = began.elapsed();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let line = text.lines().find(|line| words.iter().all(|word| line.contains(word)));
        if let Some(line) = line.filter(|_| took <= WITHIN) {
            println!("octoctl {}: in {} ms: {}", arguments.join(" "), took.as_millis(), line.trim());
            return line.to_owned();
        }
        assert!(
            Instant::now() < end,
            "octoctl {} does not name it by {words:?} within {WITHIN:?}; the last took {took:?}:\n{text}",
            arguments.join(" ")
        );
        tokio::time::sleep(AGAIN).await;
    }
}

/// That line does not come, or has gone.
pub async fn is_well(instance: &Instance, arguments: &[&str], words: &[&str]) {
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        let output = instance.command("octoctl").args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !text.lines().any(|line| words.iter().all(|word| line.contains(word))) {
            return;
        }
        assert!(Instant::now() < end, "octoctl {} goes on to name it:\n{text}", arguments.join(" "));
        tokio::time::sleep(AGAIN).await;
    }
}

/// An instance with scripted agents, this configuration beside, and a session `s1`.
pub async fn with(config: &str) -> (Instance, Client) {
    let mut options = Options::scripted();
    options.config.push_str(config);
    let mut instance = Instance::new(options);
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("s1", &instance.workspace()).await;
    (instance, client)
}

/// A prompt that nobody waits for.
pub async fn prompt(client: &mut Client, script: &Script) {
    let command = json!({"channel": "agent", "session_id": "s1", "cmd": "prompt", "message": script.prompt("Go."), "id": "drill"});
    assert!(client.send_text(command.to_string()).await);
}
