//! The lease: held as long as anything of the tree lives, given back when the last of it is gone, seen by nobody inside.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use octo_sandbox::Exit;

use crate::bed::{Bed, eventually, in_time, launcher, line, marker, parent, processes_with};

fn lease(path: &Path) -> File {
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    file.try_lock().unwrap();
    file
}

fn is_held(path: &Path) -> bool {
    let file = File::open(path).unwrap();
    match file.try_lock() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn it_is_held_until_the_tree_is_gone_and_free_at_once_then() {
    let (bed, marker) = (Bed::new(), marker());
    let path = bed.outside("lease");
    for _ in 0..20 {
        let mut spec = bed.sh(&format!("trap '' TERM HUP INT; setsid sleep {marker} & echo ready; read stop; sleep {marker}"));
        spec.lease = Some(lease(&path).into());
        let mut sandboxed = launcher().spawn(spec).await.unwrap();
        assert_eq!(line(&mut sandboxed).await, "ready");
        assert!(is_held(&path));
        sandboxed.kill_tree();
        assert_eq!(in_time(sandboxed.wait()).await, Exit::TreeKilled);
        assert!(!is_held(&path), "who waits for the end may start the next one");
        assert_eq!(processes_with(&marker), [] as [i32; 0]);
    }
}

#[tokio::test]
async fn nobody_inside_has_its_descriptor() {
    let bed = Bed::new();
    let path = bed.outside("lease");
    let mut spec = bed.sh("ls -l /proc/self/fd/; ls -l /proc/1/fd/ /proc/1/fdinfo 2>&1; cat /proc/1/fd/0 2>&1; echo done");
    spec.lease = Some(lease(&path).into());
    let output = crate::bed::run(spec).await;
    assert!(output.stdout.ends_with("done\n") && !output.stdout.contains("lease"), "{}", output.stdout);
}

/// Whoever holds the sandbox's outermost process and whoever is init: as long as one of them lives, so does the lease.
#[tokio::test]
async fn it_is_held_when_the_outermost_process_is_killed_and_its_launcher_is_frozen() {
    let (bed, marker) = (Bed::new(), marker());
    let path = bed.outside("lease");
    let mut spec = bed.sh(&format!("echo ready; exec sleep {marker}"));
    spec.lease = Some(lease(&path).into());
    let mut sandboxed = launcher().spawn(spec).await.unwrap();
    assert_eq!(line(&mut sandboxed).await, "ready");
    let agent = in_time(sandboxed.started()).await.unwrap().agent_pid;
    let outermost = parent(parent(agent.as_raw()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(outermost), nix::sys::signal::Signal::SIGKILL).unwrap();
    // This process does not look at its child here, as one that is stopped would not.
    eventually("the outermost process is gone", || {
        std::fs::read_to_string(format!("/proc/{outermost}/stat")).is_ok_and(|s| s.contains(") Z"))
    })
    .await;
    assert!(is_held(&path) && !processes_with(&marker).is_empty());
    drop(sandboxed);
    eventually("the tree is gone", || processes_with(&marker).is_empty()).await;
    eventually("the lease is given back", || !is_held(&path)).await;
}
