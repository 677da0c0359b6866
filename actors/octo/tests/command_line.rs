//! The binary `octo`, whole commands: what it prints, and its exit codes.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn octo(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_octo"));
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").env("NO_COLOR", "1").env("OCTO__EAVS__ENABLED", "false");
    command.args(arguments).current_dir(home).stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    octo(home, arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Exit code, standard output and standard error, without what differs from run to run.
fn whole(home: &Path, output: &Output) -> String {
    let text = format!("exit {}\n--- stdout\n{}--- stderr\n{}", output.status.code().unwrap(), stdout(output), stderr(output));
    text.replace(&home.display().to_string(), "HOME")
}

struct Served {
    child: Child,
    first: Value,
}

impl Served {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut command = octo(home, &["--json", "serve"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let first = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        Self { child, first }
    }

    fn port(&self) -> u16 {
        self.first["url"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_says_what_there_is() {
    let home = support::home();
    for (name, arguments) in [
        ("octo", &["--help"][..]),
        ("serve", &["serve", "--help"]),
        ("config", &["config", "--help"]),
        ("runner", &["runner", "--help"]),
        ("runner_upgrade", &["runner", "upgrade", "--help"]),
        ("agents", &["agents", "--help"]),
        ("acp", &["acp", "--help"]),
        ("agents_install", &["agents", "install", "--help"]),
    ] {
        insta::assert_snapshot!(format!("help_{name}"), stdout(&run(home.path(), arguments)));
    }
}

#[test]
fn config_show_names_the_origin_of_each_value() {
    let home = support::home();
    let config = home.path().join(".config/octo");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(
        config.join("config.toml"),
        "[server]\nport = 9123\n[auth]\njwt_secret = 'hidden-hidden-hidden-0123456789-abc'\n[voice]\nenabled = true\n",
    )
    .unwrap();
    let shown = octo(home.path(), &["config", "show"]).env("OCTO__LOGGING__LEVEL", "debug").output().unwrap();
    insta::assert_snapshot!("config_show", whole(home.path(), &shown));
    let json: Value = serde_json::from_str(&stdout(&run(home.path(), &["config", "show", "--json", "--set"]))).unwrap();
    let keys: Vec<&str> = json["keys"].as_array().unwrap().iter().map(|k| k["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["server.port", "auth.jwt_secret", "eavs.enabled", "voice.enabled"]);
}

#[test]
fn a_configuration_with_mistakes_ends_with_78_and_the_places() {
    let home = support::home();
    let file = home.path().join("c.toml");
    std::fs::write(&file, "[server]\nprot = 1\n").unwrap();
    for command in ["serve", "doctor"] {
        let output = run(home.path(), &[command, "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(78));
        assert!(stderr(&output).contains("c.toml:2: server.prot is not a key of octo; did you mean server.port?"), "{}", stderr(&output));
    }
    let gone = run(home.path(), &["serve", "--config", "gone.toml"]);
    assert_eq!(gone.status.code(), Some(78));
    assert!(stderr(&gone).contains("could not read the configuration gone.toml"), "{}", stderr(&gone));
    let json = run(home.path(), &["--json", "config", "show", "--config", "gone.toml"]);
    assert!(serde_json::from_slice::<Value>(&json.stderr).unwrap()["error"].is_string());
}

#[test]
fn config_reset_keeps_the_former_file_and_writes_one_that_loads() {
    let home = support::home();
    assert!(run(home.path(), &["config", "reset"]).status.success());
    let path = stdout(&run(home.path(), &["config", "path"]));
    std::fs::write(path.trim(), "[server]\nport = 1\n").unwrap();
    assert_eq!(run(home.path(), &["config", "reset"]).status.code(), Some(1), "not without --yes");
    assert!(run(home.path(), &["config", "reset", "--yes"]).status.success());
    assert_eq!(std::fs::read_to_string(format!("{}.1.bak", path.trim())).unwrap(), "[server]\nport = 1\n");
    assert!(run(home.path(), &["config", "show"]).status.success());
    let keys: Value = serde_json::from_slice(&run(home.path(), &["config", "keys", "--json"]).stdout).unwrap();
    assert!(keys.as_array().unwrap().len() > 130);
}

#[test]
fn serve_prints_its_address_and_credentials_and_ends_on_sigterm() {
    let home = support::home();
    let mut served = Served::start(home.path(), &["--port", "0"]);
    assert_ne!(served.port(), 0);
    assert_eq!(served.first["initial_admin"]["username"], "admin");
    assert!(served.first["initial_admin"]["password"].as_str().unwrap().len() >= 20);
    let pid = nix::unistd::Pid::from_raw(served.child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(served.child.wait().unwrap().success(), "a graceful end is a success");
    let again = Served::start(home.path(), &["--port", "0"]);
    assert!(again.first["initial_admin"].get("password").is_none(), "shown once");
}

#[test]
fn a_port_in_use_and_a_store_in_use_are_sentences() {
    let (home, other) = (support::home(), support::home());
    let served = Served::start(home.path(), &["--port", "0"]);
    let taken = run(other.path(), &["serve", "--port", &served.port().to_string()]);
    assert_eq!(taken.status.code(), Some(69));
    assert!(stderr(&taken).contains("is in use") && stderr(&taken).contains("--port"), "{}", stderr(&taken));
    let second = run(home.path(), &["serve", "--port", "0"]);
    assert_eq!(second.status.code(), Some(69));
    assert!(stderr(&second).contains("in use by another octo"), "{}", stderr(&second));
    let unknown = run(other.path(), &["serve", "--host", "no-such-host.invalid"]);
    assert!(!unknown.status.success() && stderr(&unknown).contains("no-such-host.invalid"), "{}", stderr(&unknown));
}

#[test]
fn doctor_says_what_is_missing_and_where_agents_are_looked_for() {
    let home = support::home();
    let output = octo(home.path(), &["doctor", "--json"]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let find = |name: &str| checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    for name in [
        "configuration",
        "data",
        "state",
        "sockets",
        "store",
        "port",
        "octo-runner",
        "octo-eavs",
        "octo-sandbox",
        "runner",
        "eavs",
        "agents",
    ] {
        assert!(find(name)["found"].is_string());
    }
    for name in ["pi", "node", "bubblewrap"] {
        assert_eq!(find(name)["state"], "missing");
        assert!(find(name)["hint"].as_str().unwrap().contains("install"));
    }
    assert!(find("pi")["hint"].as_str().unwrap().contains(".local/share/octo/agents"));
}

#[test]
fn doctor_knows_octo_on_its_port_from_a_stranger() {
    let (home, other) = (support::home(), support::home());
    let served = Served::start(home.path(), &["--port", "0"]);
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (port, state, says) in [
        (served.port(), "ok", format!("octo {}", octo::VERSION)),
        (stranger.local_addr().unwrap().port(), "note", "not by octo".to_owned()),
    ] {
        let output = octo(other.path(), &["doctor", "--json"]).env("OCTO__SERVER__PORT", port.to_string()).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let check = report["checks"].as_array().unwrap().iter().find(|c| c["name"] == "port").unwrap();
        assert_eq!(check["state"], state, "{check}");
        assert!(check["found"].as_str().unwrap().contains(&says), "{check}");
    }
}

#[test]
fn the_runner_that_does_not_run_is_said_not_to() {
    let home = support::home();
    let status: Value = serde_json::from_slice(&run(home.path(), &["runner", "status", "--json"]).stdout).unwrap();
    assert_eq!((&status["running"], &status["user"]), (&Value::Bool(false), &Value::from("admin")));
    assert!(run(home.path(), &["runner", "stop"]).status.success(), "what does not run is stopped");
    let bad = run(home.path(), &["runner", "start", "--user", "../x"]);
    assert!(!bad.status.success() && stderr(&bad).contains("is not a user id"), "{}", stderr(&bad));
}

#[test]
fn completions_are_made_for_each_shell() {
    let home = support::home();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(home.path(), &["completions", shell]);
        assert!(output.status.success() && stdout(&output).contains("octo"), "{shell}");
    }
    assert_eq!(run(home.path(), &["completions", "none"]).status.code(), Some(2));
}
