//! The rules of the house, held over `cargo metadata` and the sources (docs/architecture.md, "The house").
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Dependencies of each member that are built into it (not those of its tests).
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata =
        cargo_metadata::MetadataCommand::new().current_dir(root()).no_deps().other_options(vec!["--offline".to_owned()]).exec().unwrap();
    let members: BTreeMap<_, BTreeSet<String>> = metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let names = package
                .dependencies
                .iter()
                .filter(|d| d.kind != cargo_metadata::DependencyKind::Development)
                .map(|d| d.name.to_string())
                .collect();
            (package.name.to_string(), names)
        })
        .collect();
    assert!(members.len() >= 8, "the workspace is there: {members:?}");
    members
}

/// Every source file below `dirs` with the lines that are code: no comments, and nothing from `#[cfg(test)]` on.
fn code(dirs: &[&str]) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for dir in dirs {
        walk(&root().join(dir), &mut files);
    }
    files
        .into_iter()
        .filter(|path| path.file_stem().is_none_or(|stem| stem != "tests"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
            (path.strip_prefix(root()).unwrap().to_owned(), lines)
        })
        .collect()
}

const EVERYTHING: &[&str] = &[
    "protocol/src",
    "actors/octo-actors/src",
    "actors/octo/src",
    "actors/octo-eavs/src",
    "actors/octoctl/src",
    "runner/octo-harness/src",
    "runner/octo-runner/src",
    "runner/octo-sandbox/src",
    "runner/pi-bridge/src",
];

/// No file below `dirs` but those whose path starts with one of `allowed` holds one of `needles`.
fn only_in(dirs: &[&str], needles: &[&str], allowed: &[&str]) {
    let mut found = Vec::new();
    for (path, text) in code(dirs) {
        if allowed.iter().any(|prefix| path.starts_with(prefix)) {
            continue;
        }
        for needle in needles {
            for (number, line) in text.lines().enumerate().filter(|(_, line)| line.contains(needle)) {
                found.push(format!("{} (code line {}): {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{needles:?} may stand only in {allowed:?}, but also:\n{}", found.join("\n"));
}

#[test]
fn dependencies_point_one_way() {
    let members = dependencies();
    let actors = ["octo", "octo-eavs", "octoctl"];
    let runner =
        ["octo-runner", "octo-harness", "octo-sandbox", "octo-files", "octo-usermgr", "pi-bridge", "octo-browser", "octo-scaffold"];
    for (name, dependencies) in &members {
        let ours: BTreeSet<&str> = dependencies.iter().map(String::as_str).filter(|d| members.contains_key(*d)).collect();
        let allowed: BTreeSet<&str> = match name.as_str() {
            "octo-protocol" | "octo-actors" | "octo-sandbox" => BTreeSet::new(),
            "octo-harness" => BTreeSet::from(["octo-protocol"]),
            "octo-e2e" => BTreeSet::from(["octo-protocol"]),
            // It calls every place where bytes are read that nobody vouches for.
            "octo-fuzz" => BTreeSet::from(["octo", "octo-eavs", "octo-harness", "octo-protocol", "octo-runner"]),
            // It measures both sides, and is built into neither.
            "octo-bench" => BTreeSet::from(["octo-protocol", "octo-actors", "octo-e2e", "octo", "octo-harness", "octo-runner"]),
            // It knows of octo what the protocol says, and nothing else.
            "octoctl" => BTreeSet::from(["octo-protocol"]),
            name if actors.contains(&name) => BTreeSet::from(["octo-protocol", "octo-actors"]),
            name if runner.contains(&name) => {
                runner.iter().copied().chain(["octo-protocol", "octo-actors"]).filter(|other| *other != name).collect()
            }
            other => panic!("{other} is new: say here what it may depend on"),
        };
        assert!(ours.is_subset(&allowed), "{name} depends on {:?}", ours.difference(&allowed).collect::<Vec<_>>());
    }
}

#[test]
fn the_protocol_and_the_harness_do_no_io_and_have_no_runtime() {
    for name in ["octo-protocol", "octo-harness"] {
        let dependencies = &dependencies()[name];
        for banned in ["tokio", "nix", "libc", "ractor", "rusqlite", "sled", "reqwest", "hyper", "axum"] {
            assert!(!dependencies.contains(banned), "{name} depends on {banned}");
        }
    }
    only_in(
        &["protocol/src", "runner/octo-harness/src"],
        &["std::fs", "std::net", "std::process", "std::thread", "SystemTime", "Instant::now"],
        &[],
    );
}

#[test]
fn each_store_is_named_in_one_place() {
    only_in(EVERYTHING, &["sled::"], &["actors/octo/src/store", "actors/octo-eavs/src/store.rs"]);
    only_in(EVERYTHING, &["rusqlite"], &["runner/octo-runner/src/journal"]);
    let members = dependencies();
    for (name, dependencies) in &members {
        assert_eq!(dependencies.contains("rusqlite"), name == "octo-runner", "{name}");
        assert_eq!(dependencies.contains("sled"), name == "octo" || name == "octo-eavs", "{name}");
        assert_eq!(dependencies.contains("ractor"), name == "octo-actors", "only the kit names ractor, but {name}");
    }
}

#[test]
fn there_is_one_way_to_start_a_process_on_each_side() {
    only_in(
        EVERYTHING,
        &["process::Command", "Command::new", "posix_spawn", "libc::fork", "unistd::fork"],
        &["actors/octo/src/launch", "runner/octo-sandbox/src", "actors/octo/src/cli"],
    );
    // The command line names clap's Command, but starts nothing.
    only_in(&["actors/octo/src/cli"], &["process::Command"], &[]);
    only_in(EVERYTHING, &["pre_exec", "PDEATHSIG", "set_pdeathsig", "MS_REMOUNT", "hidepid"], &[]);
    let life: Vec<_> = code(&["runner/octo-sandbox/src"]).into_iter().filter(|(_, text)| text.contains("\"--die-with-parent\"")).collect();
    assert!(life.is_empty(), "a parent-death signal follows the forking thread; the life line does not: {life:?}");
}

#[test]
fn the_daemons_use_no_seam_that_is_for_embedding() {
    only_in(EVERYTHING, &["Host for "], &["runner/octo-runner/src/agent/host.rs"]);
    only_in(EVERYTHING, &["Journal::embedded(", "dial: Some("], &["runner/octo-runner/src/journal/tests"]);
}

#[test]
fn only_where_a_pid_cannot_mean_another_process_is_a_signal_sent() {
    only_in(
        EVERYTHING,
        &["kill(Pid", "kill(self.", "kill(pid", "kill(nix", "libc::kill(", "SYS_kill", "killpg", "pidfd_send_signal", "start_kill"],
        &[
            // Init signals its own child, which it has not reaped; without a namespace a descendant by its pidfd.
            "runner/octo-sandbox/src/inside/init.rs",
            "runner/octo-sandbox/src/inside/reaper.rs",
            // Where the system has none.
            "runner/octo-sandbox/src/inside/reaper_portable.rs",
            // A daemon that a person stops by name, found by the peer of its socket in that moment.
            "actors/octo/src/launch/process.rs",
            // The runner itself, in tests.
            "runner/octo-runner/src/kill_point.rs",
        ],
    );
}

#[test]
fn the_control_plane_opens_no_workspace() {
    for (path, text) in code(&["actors/octo/src"]) {
        for line in text.lines() {
            let opens = line.contains("fs::") || line.contains("File::");
            assert!(!(opens && (line.contains("workspace") || line.contains("cwd"))), "{}: {line}", path.display());
        }
    }
}

#[test]
fn events_do_not_travel_through_ractor_ports_or_groups() {
    only_in(EVERYTHING, &["OutputPort", "ractor::pg", "ractor::registry"], &[]);
}

#[test]
fn no_lock_is_named_where_an_await_could_hold_it() {
    // clippy's await_holding_lock is denied for std's locks; tokio's would pass it.
    only_in(EVERYTHING, &["tokio::sync::Mutex", "tokio::sync::RwLock"], &[]);
}

#[test]
fn the_web_application_talks_to_api_and_nothing_else() {
    fn walk(dir: &Path, check: &mut dyn FnMut(&Path, &str)) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, check);
            } else if path.extension().is_some_and(|e| e == "ts" || e == "tsx") && !path.to_string_lossy().contains(".test.") {
                check(&path, &std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut files = 0;
    walk(&root().join("web/src"), &mut |path, text| {
        files += 1;
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.trim_start().starts_with('*')) {
            for scheme in ["http://", "https://", "ws://", "wss://"] {
                let allowed = line.contains("location.") || line.contains("w3.org") || line.contains("${");
                assert!(
                    !line.contains(scheme) || allowed || path.starts_with(root().join("web/src/protocol")),
                    "{}: {line}",
                    path.display()
                );
            }
        }
    });
    assert!(files > 20, "the sources are there");
}

#[test]
fn files_are_nouns_and_not_novels() {
    let long: Vec<String> = code(EVERYTHING)
        .into_iter()
        .filter_map(|(path, _)| {
            let lines = std::fs::read_to_string(root().join(&path)).unwrap().lines().count();
            (lines > 600).then(|| format!("{} has {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "which two nouns live in them?\n{}", long.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    // Put together, so that this file does not hold what it looks for.
    only_in(EVERYTHING, &[concat!("to", "do!("), concat!("unim", "plemented!("), concat!("FIX", "ME"), concat!("TO", "DO")], &[]);
    let ignore = concat!("#[ig", "nore");
    let ignored: Vec<_> = code(&["tests"]).into_iter().filter(|(_, text)| text.contains(ignore)).map(|(path, _)| path).collect();
    assert!(ignored.is_empty(), "tests that do not run: {ignored:?}");
}
