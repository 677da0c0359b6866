//! `octo agents`, whole commands, with the real npm and a small tree of packages of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

const PI: &str = "@earendil-works/pi-coding-agent";
const CLAUDE: &str = "@anthropic-ai/claude-code";

/// A home with a prefix of agents, and a place for packages.
struct Place {
    home: tempfile::TempDir,
}

fn good(output: Output) -> Output {
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output
}

impl Place {
    fn new() -> Self {
        Self { home: support::home() }
    }

    fn prefix(&self) -> PathBuf {
        self.home.path().join("agents")
    }

    fn octo(&self, arguments: &[&str]) -> Output {
        self.octo_in(arguments, &std::env::var("PATH").unwrap())
    }

    fn octo_in(&self, arguments: &[&str], path: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octo"));
        command.env_clear().env("HOME", self.home.path()).env("PATH", path).env("NO_COLOR", "1").env("OCTO_AGENTS_DIR", self.prefix());
        command.args(arguments).current_dir(self.home.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn npm(&self, within: &Path, arguments: &[&str]) {
        let mut command = Command::new("npm");
        command.args(arguments).args(["--offline", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(within);
        good(command.env("HOME", self.home.path()).output().expect("npm is installed"));
    }

    /// A package `name` with the program `bin`, which says its version after a line of input, out of a file that it opens only then.
    fn package(&self, name: &str, bin: &str, version: &str) -> PathBuf {
        let source = self.home.path().join(format!("packages/{bin}-{version}"));
        std::fs::create_dir_all(&source).unwrap();
        let manifest = json!({ "name": name, "version": version, "bin": { bin: "cli.sh" } });
        std::fs::write(source.join("package.json"), manifest.to_string()).unwrap();
        std::fs::write(source.join("late"), format!("{bin} {version}\n")).unwrap();
        std::fs::write(source.join("cli.sh"), "#!/bin/sh\nread -r line\ncat \"$(dirname \"$(readlink -f \"$0\")\")/late\"\n").unwrap();
        std::fs::set_permissions(source.join("cli.sh"), PermissionsExt::from_mode(0o755)).unwrap();
        self.npm(&source, &["pack", "--pack-destination", ".."]);
        let file = format!("{}-{version}.tgz", name.trim_start_matches('@').replace('/', "-"));
        source.parent().unwrap().join(file)
    }

    /// A folder with `package.json` and `package-lock.json` that pin both agents in this version.
    fn pinned(&self, version: &str) -> PathBuf {
        let folder = self.home.path().join(format!("pinned-{version}"));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |package: PathBuf| format!("file:{}", package.display());
        let manifest = json!({ "name": "agents", "private": true, "dependencies": {
            PI: file(self.package(PI, "pi", version)), CLAUDE: file(self.package(CLAUDE, "claude", version)),
        } });
        std::fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
        self.npm(&folder, &["install", "--package-lock-only"]);
        folder
    }

    fn install(&self, from: &Path, names: &[&str]) -> Output {
        let from = from.display().to_string();
        self.octo(&[&["agents", "install", "--from", &from, "--json"], names].concat())
    }

    /// The agent of this name, as octo-runner starts it: its file, links resolved.
    fn start(&self, agent: &str) -> Running {
        let program = self.prefix().join("node_modules/.bin").join(agent).canonicalize().unwrap();
        Running(Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn releases(&self) -> usize {
        std::fs::read_dir(self.prefix().join("releases")).map_or(0, Iterator::count)
    }
}

struct Running(Child);

impl Running {
    fn says(mut self) -> String {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        String::from_utf8(self.0.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    }
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn versions(place: &Place) -> Vec<(String, String)> {
    let list = json_of(&good(place.octo(&["agents", "list", "--json"])));
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    list["agents"].as_array().unwrap().iter().map(|agent| (text(&agent["name"]), text(&agent["version"]))).collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
}

#[test]
fn agents_are_installed_as_they_are_pinned_and_one_that_runs_goes_on_undisturbed() {
    let place = Place::new();
    let (one, two) = (place.pinned("1.0.0"), place.pinned("2.0.0"));
    let done = json_of(&good(place.install(&one, &[])));
    assert_eq!(done["already"], false);
    assert_eq!(done["agents"], json!([{ "name": "pi", "version": "1.0.0" }, { "name": "claude", "version": "1.0.0" }]));
    assert_eq!(versions(&place), pairs(&[("pi", "1.0.0"), ("claude", "1.0.0")]));
    assert_eq!(json_of(&good(place.install(&one, &[])))["already"], true);

    let running = place.start("pi");
    good(place.install(&two, &[]));
    assert_eq!(versions(&place), pairs(&[("pi", "2.0.0"), ("claude", "2.0.0")]));
    assert_eq!(place.start("pi").says(), "pi 2.0.0");
    assert_eq!(running.says(), "pi 1.0.0", "it reads its own files, also those that it had not opened");

    // Nothing runs from it any more: the next installation takes it away.
    let removed = json_of(&good(place.install(&place.pinned("3.0.0"), &[])));
    assert_eq!((removed["removed"].as_u64(), place.releases()), (Some(2), 1), "{removed}");
}

#[test]
fn an_installation_from_before_there_were_releases_is_replaced_in_the_same_way() {
    let place = Place::new();
    let one = place.pinned("1.0.0");
    std::fs::create_dir_all(place.prefix()).unwrap();
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(one.join(name), place.prefix().join(name)).unwrap();
    }
    place.npm(&place.prefix(), &["ci"]);
    assert!(place.prefix().join("node_modules").symlink_metadata().unwrap().is_dir());
    good(place.install(&place.pinned("2.0.0"), &[]));
    assert_eq!(place.start("claude").says(), "claude 2.0.0");
    assert!(place.prefix().join("node_modules").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn setup_and_octo_agree_about_what_is_installed() {
    let place = Place::new();
    let (one, two) = (place.pinned("1.0.0"), place.pinned("2.0.0"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let setup = |from: &Path| {
        let script = r#"source "$0/scripts/lib.sh"; install_release "$1" "$2" "the agents""#;
        let mut bash = Command::new("bash");
        bash.args(["-euc", script]).arg(&root).arg(from).arg(place.prefix());
        good(bash.env("HOME", place.home.path()).output().unwrap())
    };
    setup(&one);
    assert_eq!(json_of(&good(place.install(&one, &[])))["already"], true);
    assert_eq!(json_of(&good(place.install(&two, &[])))["already"], false);
    assert_eq!(setup(&two).stdout, b"", "there is nothing to do");
    let running = place.start("pi");
    setup(&one);
    assert_eq!(place.start("pi").says(), "pi 1.0.0");
    assert_eq!(running.says(), "pi 2.0.0");
}

#[test]
fn what_is_named_is_installed_beside_what_is_there() {
    let place = Place::new();
    let one = place.pinned("1.0.0");
    good(place.install(&one, &["claude-code"]));
    assert_eq!(versions(&place), pairs(&[("pi", "-"), ("claude", "1.0.0")]));
    good(place.install(&one, &["pi"]));
    assert_eq!(versions(&place), pairs(&[("pi", "1.0.0"), ("claude", "1.0.0")]));
    let refused = place.install(&one, &["pie"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("octo does not install \\\"pie\\\"; it installs: pi, claude"), "{}", stderr(&refused));
}

#[test]
fn an_installation_that_was_broken_off_leaves_what_was_there_and_the_next_makes_it_whole() {
    let place = Place::new();
    let (one, two) = (place.pinned("1.0.0"), place.pinned("2.0.0"));
    good(place.install(&one, &[]));
    // An npm that dies in the middle of its work.
    let bin = place.home.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(
        bin.join("npm"),
        "#!/bin/sh\nmkdir -p node_modules/.bin\necho half > node_modules/.bin/pi\necho 'npm error the line broke' >&2\nkill -9 $$\n",
    )
    .unwrap();
    std::fs::set_permissions(bin.join("npm"), PermissionsExt::from_mode(0o755)).unwrap();
    let from = two.display().to_string();
    let broken = place.octo_in(&["agents", "install", "--from", &from], &format!("{}:/usr/bin:/bin", bin.display()));
    assert_eq!(broken.status.code(), Some(1));
    assert!(stderr(&broken).contains("the line broke") && stderr(&broken).contains("stays as it is"), "{}", stderr(&broken));
    assert_eq!(place.start("pi").says(), "pi 1.0.0");
    good(place.install(&two, &[]));
    assert_eq!(place.start("pi").says(), "pi 2.0.0");
}

#[test]
fn without_npm_the_sentence_says_what_to_do() {
    let place = Place::new();
    let output = place.octo_in(&["agents", "install"], "/nonexistent");
    assert_eq!(output.status.code(), Some(69));
    assert!(stderr(&output).contains("npm is not in PATH") && stderr(&output).contains("install Node.js"), "{}", stderr(&output));
    let file = std::fs::File::create(place.prefix().join(".installing")).unwrap();
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    let output = place.octo(&["agents", "install"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(stderr(&output).contains("another installation into"), "{}", stderr(&output));
    drop(lock);
}

#[test]
fn the_list_says_what_there_is_and_how_to_get_the_rest() {
    let place = Place::new();
    let config = place.home.path().join(".config/octo");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(
        config.join("config.toml"),
        "[claude]\nenabled = false\n[harness.mine]\nprotocol = 'pi-rpc'\ncommand = 'my-own-pi'\n[harness.next]\nlabel = 'pi (next)'\nprotocol = 'pi-rpc'\ncommand = '/nonexistent/pi'\n",
    )
    .unwrap();
    let program = place.prefix().join("bin/my-own-pi");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let whole = |output: Output| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&place.home.path().display().to_string(), "HOME");
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    insta::assert_snapshot!("list", whole(place.octo_in(&["agents", "list"], "/nonexistent")));
    insta::assert_snapshot!("doctor", whole(place.octo_in(&["agents", "doctor", "--no-start"], "/nonexistent")));
    insta::assert_snapshot!("doctor_unknown", whole(place.octo_in(&["agents", "doctor", "nope"], "/nonexistent")));
}
