//! The command for people, and ordinary users.

use std::process::{Command, Output};

use crate::bed::{BINARY, Bed, write};

fn octo_sandbox(bed: &Bed, args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(args).env("HOME", &bed.home).current_dir(&bed.workspace).stdin(std::process::Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_passes_output_and_exit_code_on() {
    let bed = Bed::new();
    let output = octo_sandbox(&bed, &["--verbose", "--profile", "strict", "--", "sh", "-c", "pwd; echo oops >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output.stdout), format!("{}\n", bed.workspace.display()));
    let errors = text(&output.stderr);
    assert!(errors.contains("oops") && errors.contains("profile strict"), "{errors}");
    assert_eq!(octo_sandbox(&bed, &["--", "sh", "-c", "kill -TERM $$"]).status.code(), Some(128 + 15));
}

#[test]
fn it_says_why_a_command_did_not_start() {
    let bed = Bed::new();
    let output = octo_sandbox(&bed, &["--", "no-such-command"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("not in the sandbox's PATH"), "{}", text(&output.stderr));
    let output = octo_sandbox(&bed, &["--profile", "lax", "--", "true"]);
    assert!(text(&output.stderr).contains("one of minimal, development, strict"), "{}", text(&output.stderr));
}

#[test]
fn a_dry_run_shows_the_mounts_and_does_nothing() {
    let bed = Bed::new();
    let output = octo_sandbox(&bed, &["--dry-run", "--no-network", "--", "touch", "made"]);
    let shown = text(&output.stdout);
    let workspace = bed.workspace.display();
    assert!(shown.contains(&format!("  --bind {workspace} {workspace}\n")), "{shown}");
    assert!(shown.contains("--unshare-net") && shown.ends_with("-- touch made\n"), "{shown}");
    assert!(!bed.workspace.join("made").exists() && !bed.home.join(".ssh").exists());
}

#[test]
fn octos_own_directories_are_hidden_from_a_command_too() {
    let bed = Bed::new();
    write(&bed.home.join(".local/share/octo/store/db"), "secret");
    let output = octo_sandbox(&bed, &["--", "sh", "-c", "cat ~/.local/share/octo/store/db; echo $?"]);
    assert_eq!(text(&output.stdout), "1\n");
}

#[test]
fn without_a_sandbox_it_is_the_command() {
    let bed = Bed::new();
    let output = octo_sandbox(&bed, &["--no-sandbox", "--", "sh", "-c", "cat /proc/$$/status | grep ^NoNewPrivs; exit 4"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(4), "NoNewPrivs:\t0\n"));
}

#[test]
fn the_inner_stages_refuse_strangers() {
    let bed = Bed::new();
    for args in [&["run"][..], &["init"], &["init", "--spec-fd", "0", "--life-fd", "1", "--stdio-fds", "0,1,2"]] {
        assert_eq!(octo_sandbox(&bed, args).status.code(), Some(125), "{args:?}");
    }
}

/// As root this is tried as somebody who is nobody.
#[test]
fn it_works_for_an_ordinary_user() {
    use std::os::unix::fs::PermissionsExt;
    if !nix::unistd::getuid().is_root() {
        return it_passes_output_and_exit_code_on();
    }
    let bed = Bed::new();
    let program = bed.outside("octo-sandbox");
    std::fs::copy(BINARY, &program).unwrap();
    write(&bed.home.join(".ssh/id"), "secret");
    for path in [bed.root.path(), &bed.home, &bed.workspace, &bed.home.join(".ssh"), &bed.home.join(".ssh/id")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    let script = "id -u; tr '\\0' '\\n' < /proc/1/cmdline | head -1; cat ~/.ssh/id; touch made && echo made; ls /proc/self/fd | wc -l; \
                  i=0; while [ $i -lt 60 ]; do i=$((i+1)); sleep 1000 & done; setsid sleep 1000 & exit 3";
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program)
        .args(["--no-network", "--", "sh", "-c", script])
        .env("HOME", &bed.home)
        .current_dir(&bed.workspace)
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "65534\n/run/octo/bin/octo-sandbox\nmade\n4\n", "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(3));
}
