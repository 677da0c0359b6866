//! No isolation, no start; unless it was asked for by name, and then still no orphans.

use std::os::unix::fs::PermissionsExt;

use octo_sandbox::{Bind, Exit, Isolation, LaunchError, Launcher, RELAY_PORT_PLACEHOLDER, Relay, Signal};

use crate::bed::{Bed, eventually, in_time, launcher, line, marker, processes_with, run_with, write};

fn without_bwrap() -> Launcher {
    launcher().bwrap("/nowhere/bwrap")
}

#[tokio::test]
async fn without_bubblewrap_nothing_starts() {
    let bed = Bed::new();
    let error = without_bwrap().spawn(bed.sh("touch ran")).await.unwrap_err();
    assert!(matches!(error, LaunchError::BubblewrapMissing { .. }), "{error}");
    assert!(error.to_string().contains("install the package bubblewrap"), "{error}");
    assert!(!bed.workspace.join("ran").exists());
}

#[tokio::test]
async fn where_namespaces_are_refused_nothing_starts() {
    let bed = Bed::new();
    let fake = bed.outside("bwrap");
    write(&fake, "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n");
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = launcher().bwrap(&fake).spawn(bed.sh("touch ran")).await.unwrap_err();
    assert!(matches!(&error, LaunchError::NamespacesRefused { detail } if detail.contains("No permissions")), "{error}");
    let info = launcher().bwrap(&fake).allow_without_bwrap(true).check().unwrap();
    assert!(matches!(info.isolation, Isolation::None { .. }));
}

#[test]
fn a_missing_launcher_is_named() {
    let error = Launcher::new("/nowhere/octo-sandbox").check().unwrap_err();
    assert!(error.to_string().contains("/nowhere/octo-sandbox"), "{error}");
}

#[test]
fn permission_by_name_changes_nothing_where_there_is_isolation() {
    let info = launcher().allow_without_bwrap(true).check().unwrap();
    assert!(matches!(info.isolation, Isolation::Bubblewrap { .. }), "{info:?}");
}

#[tokio::test]
async fn allowed_by_name_the_tree_still_ends_whole() {
    let (bed, marker) = (Bed::new(), marker());
    let script = format!(
        "trap '' TERM; setsid sleep {marker} & ( setsid sh -c 'sleep {marker} & sleep {marker} &' & ); echo ready; \
         while :; do sleep {marker}; done"
    );
    for by_drop in [false, true] {
        let launcher = without_bwrap().allow_without_bwrap(true);
        let mut sandboxed = launcher.spawn(bed.sh(&script)).await.unwrap();
        let started = in_time(sandboxed.started()).await.unwrap();
        assert!(processes_with(&marker).contains(&started.agent_pid.as_raw()));
        assert_eq!(line(&mut sandboxed).await, "ready");
        eventually("every sleeper sleeps", || processes_with(&format!("sleep {marker}")).len() >= 4).await;
        assert!(sandboxed.signal(Signal::Terminate));
        if by_drop {
            drop(sandboxed);
            eventually("the tree is gone", || processes_with(&marker).is_empty()).await;
        } else {
            sandboxed.kill_tree();
            assert_eq!(in_time(sandboxed.wait()).await, Exit::TreeKilled);
            assert_eq!(processes_with(&marker), [] as [i32; 0]);
        }
    }
}

#[tokio::test]
async fn allowed_by_name_exit_descriptors_and_leftovers_are_as_in_a_sandbox() {
    let (bed, marker) = (Bed::new(), marker());
    let launcher = without_bwrap().allow_without_bwrap(true);
    let script = format!("ls /proc/$$/fd; env | wc -l; setsid sleep {marker} & exit 6");
    let output = run_with(&launcher, bed.sh(&script)).await;
    // PATH, HOME and the PWD that the shell itself adds.
    assert_eq!((output.stdout.as_str(), output.exit), ("0\n1\n2\n3\n", Exit::Code(6)));
    assert_eq!(processes_with(&marker), [] as [i32; 0]);
}

#[tokio::test]
async fn allowed_by_name_the_relay_finds_its_socket_on_the_host() {
    use tokio::io::AsyncWriteExt;
    let bed = Bed::new();
    let listener = tokio::net::UnixListener::bind(bed.outside("eavs.sock")).unwrap();
    let mut spec = bed.sh("");
    spec.program = "/bin/bash".into();
    spec.args = vec!["-c".to_owned(), format!("exec 3<>/dev/tcp/127.0.0.1/{RELAY_PORT_PLACEHOLDER}; cat <&3")];
    spec.binds = vec![Bind::read_only(bed.outside(""), "/run/octo/llm")];
    spec.relay = Some(Relay { socket: "/run/octo/llm/eavs.sock".into() });
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"here").await.unwrap();
    });
    assert_eq!(run_with(&without_bwrap().allow_without_bwrap(true), spec).await.stdout, "here");
    server.await.unwrap();
}
