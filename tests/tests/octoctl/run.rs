//! Running a command, and what of its output is the same every time.

use octo_e2e::{Client, Instance, Script};
use serde_json::json;
use std::process::{Command, Output, Stdio};

/// A command of octoctl in an instance's environment.
pub fn octoctl(instance: &Instance, arguments: &[&str]) -> Command {
    let mut command = instance.command("octoctl");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(instance: &Instance, arguments: &[&str]) -> Output {
    octoctl(instance, arguments).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The command, its exit code and all that it wrote.
pub fn whole(instance: &Instance, arguments: &[&str]) -> String {
    let output = run(instance, arguments);
    text(instance, arguments, &output)
}

/// As [`whole`], of an output that is there.
pub fn text(instance: &Instance, arguments: &[&str], output: &Output) -> String {
    let code = output.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
    let text = format!("$ octoctl {}\nexit {code}\n--- stdout\n{}--- stderr\n{}", arguments.join(" "), stdout(output), stderr(output));
    let programs = octo_e2e::target_dir().display().to_string();
    text.replace(&instance.home().display().to_string(), "HOME").replace(&programs, "PROGRAMS").replace(&instance.url(), "URL")
}

/// What differs from run to run.
const FILTERS: [(&str, &str); 24] = [
    // Unix sockets lie elsewhere when their path would be too long.
    (r"/tmp/octo-\d+-[0-9a-f]{8}", "RUN"),
    (r"HOME/\.local/state/octo/run\b", "RUN"),
    (r"\bpid:? ?\d+", "pid PID"),
    (r#""(pid|pid_before)":\d+"#, r#""$1":"PID""#),
    (r"\bpi \d+\b", "pi PID"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r#""(started_at|at|last_activity|created_at|last_login_at|changed_at|exported_at|ts)":\d+"#, r#""$1":"TIME""#),
    (r"\b\d+(s|m|h|d) ago\b", "AGE ago"),
    (r"\bfor \d+(s|m|h|d)\b", "for AGE"),
    (r"\b\d+(\.\d+)?(µs|ms)\b", "SPAN"),
    (r"\d+\.\ds ago", "SPAN ago"),
    (r"SPAN ago", "AGE ago"),
    (r"\b\d+ MiB free", "ROOM free"),
    (r"\b\d+ of \d+ in use", "SOME of ALL in use"),
    (r"\b\d+(\.\d)? (B|KiB|MiB)\b", "SIZE"),
    // A line of the tree or the list: mailbox, handled, restarts, age.
    (r"(\d+)/(\d+)\s+\d+\s+(\d+)\s+\d+(s|m|h|d)\b", "$1/$2 HANDLED $3 AGE"),
    // Columns are as wide as what stands in them.
    (r" {2,}", "  "),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"epoch [0-9A-Za-z]+", "epoch EPOCH"),
    (r"(linked|runs|admin)  \d+  octo-runner", "$1  PID  octo-runner"),
    (r"─ \d+  connection", "─ N  connection"),
    (r"\b\d+[smhd]\b", "AGE"),
    (r"\b(\d+)  (\d+)  AGE  Speak", "EVENTS  $2  AGE  Speak"),
    (r#""epoch":\s*"[^"]+""#, r#""epoch":"EPOCH""#),
];

/// Compares with what was approved.
pub fn same(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    for (pattern, replacement) in FILTERS {
        settings.add_filter(pattern, replacement);
    }
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// An instance with a session `s1` that has said something and is idle.
pub async fn instance() -> (Instance, Client) {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    client.create("s1", &instance.workspace()).await;
    let prompt = Script::deltas(3).prompt("Speak.");
    client.command("s1", json!({ "cmd": "prompt", "message": prompt, "client_id": "c1" })).await;
    client.event("s1", |frame| frame["event"] == "agent.idle").await.unwrap();
    (instance, client)
}
