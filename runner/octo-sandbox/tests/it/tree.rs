//! The whole tree ends, whoever decides it and whatever it did to escape.

use octo_sandbox::{Exit, Signal};

use crate::bed::{Bed, eventually, finish, in_time, launcher, line, marker, parent, processes_with, run};

/// A child in a session of its own, one forked twice, and a parent that ignores every polite request.
fn escape_artist(marker: &str) -> String {
    format!(
        "trap '' TERM HUP INT; setsid sleep {marker} & ( setsid sh -c 'sleep {marker} & sleep {marker} &' & ); \
         sleep {marker} & echo ready; while :; do sleep {marker}; done"
    )
}

async fn all_there(marker: &str) {
    // Four sleepers of their own, and the one in the loop.
    eventually("every sleeper sleeps", || processes_with(&format!("sleep {marker}")).len() >= 5).await;
}

#[tokio::test]
async fn kill_tree_ends_everything_however_it_forked() {
    let (bed, marker) = (Bed::new(), marker());
    let mut sandboxed = launcher().spawn(bed.sh(&escape_artist(&marker))).await.unwrap();
    assert_eq!(line(&mut sandboxed).await, "ready");
    all_there(&marker).await;
    sandboxed.kill_tree();
    assert_eq!(in_time(sandboxed.wait()).await, Exit::TreeKilled);
    assert_eq!(processes_with(&marker), [] as [i32; 0], "wait returns when the tree is gone");
}

#[tokio::test]
async fn dropping_the_handle_ends_everything() {
    let (bed, marker) = (Bed::new(), marker());
    let mut sandboxed = launcher().spawn(bed.sh(&escape_artist(&marker))).await.unwrap();
    assert_eq!(line(&mut sandboxed).await, "ready");
    all_there(&marker).await;
    let controller = sandboxed.controller();
    drop(sandboxed);
    eventually("the tree is gone", || processes_with(&marker).is_empty()).await;
    assert!(!controller.signal(Signal::Terminate));
}

#[tokio::test]
async fn the_death_of_the_spawning_process_ends_everything() {
    let (bed, marker) = (Bed::new(), marker());
    let mut holder = tokio::process::Command::new(crate::bed::BINARY)
        .args(["--", "/bin/sh", "-c", &escape_artist(&marker)])
        .env("HOME", &bed.home)
        .current_dir(&bed.workspace)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    all_there(&marker).await;
    holder.kill().await.unwrap();
    eventually("the tree is gone", || processes_with(&marker).is_empty()).await;
}

#[tokio::test]
async fn the_death_of_the_outermost_process_ends_everything() {
    let (bed, marker) = (Bed::new(), marker());
    let mut sandboxed = launcher().spawn(bed.sh(&escape_artist(&marker))).await.unwrap();
    let agent = in_time(sandboxed.started()).await.unwrap().agent_pid;
    all_there(&marker).await;
    let outermost = parent(parent(agent.as_raw()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(outermost), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(in_time(sandboxed.wait()).await, Exit::TreeKilled);
    eventually("the tree is gone", || processes_with(&marker).is_empty()).await;
}

#[tokio::test]
async fn what_the_program_leaves_behind_ends_with_it_and_lets_go_of_its_output() {
    let (bed, marker) = (Bed::new(), marker());
    let output = run(bed.sh(&format!("setsid sleep {marker} & echo done; exit 3"))).await;
    assert_eq!((output.stdout.as_str(), output.exit), ("done\n", Exit::Code(3)));
    assert_eq!(processes_with(&marker), [] as [i32; 0]);
}

#[tokio::test]
async fn the_output_ends_when_the_program_closes_it_and_lives_on() {
    let bed = Bed::new();
    let mut sandboxed = launcher().spawn(bed.sh("exec >&-; read go; exit 4")).await.unwrap();
    assert_eq!(line(&mut sandboxed).await, "", "nothing outside holds the program's output open");
    drop(sandboxed.stdin.take());
    assert_eq!(finish(sandboxed).await.exit, Exit::Code(4));
}

#[tokio::test]
async fn ten_thousand_orphans_leave_no_zombie() {
    let bed = Bed::new();
    let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); \
                  ( j=0; while [ $j -lt 100 ]; do j=$((j+1)); : & done ); done; \
                  while grep -qs '^State:.Z' /proc/[0-9]*/status; do sleep 0.05; done; echo clean";
    let output = run(bed.sh(script)).await;
    assert_eq!((output.stdout.as_str(), output.exit), ("clean\n", Exit::Code(0)), "{}", output.stderr);
}
