//! Resource limits hold for the program and its descendants.

use octo_sandbox::{Exit, Limits, Resource};

use crate::bed::{Bed, marker, processes_with, run};

fn none() -> Limits {
    Limits { nofile: None, memory: None, tasks: None, core: None, fsize: None, cpu_seconds: None, tmp_bytes: None }
}

#[tokio::test]
async fn limits_are_set_and_cannot_be_raised() {
    let bed = Bed::new();
    let mut spec = bed.sh("ulimit -Hn; ulimit -Sn; ulimit -Hc; ulimit -Ht; ulimit -n 65 2>/dev/null || echo no; sh -c 'ulimit -n'");
    spec.limits = Limits { nofile: Some(64), core: Some(0), cpu_seconds: Some(77), ..none() };
    assert_eq!(run(spec).await.stdout, "64\n64\n0\n77\nno\n64\n");
}

#[tokio::test]
async fn a_limit_above_the_callers_own_becomes_that() {
    let bed = Bed::new();
    let mut spec = bed.sh("ulimit -Hn");
    spec.limits = Limits { nofile: Some(u64::MAX), ..none() };
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(run(spec).await.stdout, format!("{hard}\n"));
}

/// octo's daemons forbid themselves huge pages, and what they start inherits that.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_program_may_use_huge_pages_though_its_launcher_may_not() {
    nix::sys::prctl::set_thp_disable(true).unwrap();
    let bed = Bed::new();
    let output = run(bed.sh("grep THP_enabled /proc/self/status || echo unknown")).await;
    nix::sys::prctl::set_thp_disable(false).unwrap();
    assert!(["THP_enabled:\t1\n", "unknown\n"].contains(&output.stdout.as_str()), "{}", output.stdout);
}

#[tokio::test]
async fn a_file_cannot_grow_beyond_its_limit() {
    let bed = Bed::new();
    let mut spec = bed.sh("exec dd if=/dev/zero of=big bs=1024 count=64 2>/dev/null");
    spec.limits = Limits { fsize: Some(16 * 1024), ..none() };
    assert_eq!(run(spec).await.exit, Exit::Signal(25));
    assert_eq!(bed.workspace.join("big").metadata().unwrap().len(), 16 * 1024);
}

#[tokio::test]
async fn the_private_tmp_cannot_fill_the_memory() {
    let bed = Bed::new();
    let mut spec = bed.sh("head -c 10000000 /dev/zero > /tmp/big 2>/dev/null && echo filled; wc -c < /tmp/big");
    spec.limits = Limits { tmp_bytes: Some(1024 * 1024), ..none() };
    assert_eq!(run(spec).await.stdout, "1048576\n");
}

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_fork_bomb_ends_with_its_tree_at_its_limit_and_says_so() {
    let (bed, marker) = (Bed::new(), marker());
    let mut spec = bed.sh(&format!("sleep {marker} & bomb() {{ bomb | bomb & }}; bomb 2>/dev/null; sleep {marker}"));
    spec.limits = Limits { tasks: Some(200), ..none() };
    let output = run(spec).await;
    let Exit::Exceeded(excess) = output.exit else { panic!("{:?} {}", output.exit, output.stderr) };
    assert_eq!((excess.of, excess.limit, excess.used > 200), (Resource::Tasks, 200, true), "{excess}");
    assert!(excess.used < 400, "what is over the limit is not counted to its end: {excess}");
    assert!(excess.to_string().starts_with("had more than 200 processes and threads ("), "{excess}");
    assert_eq!(processes_with(&marker), [] as [i32; 0]);
}

#[tokio::test]
async fn threads_count_as_tasks_and_what_has_ended_does_not() {
    let bed = Bed::new();
    let script = "import threading, time\nfor _ in range(90): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\ntime.sleep(600)";
    let mut spec = bed.sh(&format!("i=0; while [ $i -lt 500 ]; do i=$((i+1)); /bin/true; done; exec python3 -c '{script}'"));
    spec.limits = Limits { tasks: Some(50), ..none() };
    let Exit::Exceeded(excess) = run(spec).await.exit else { panic!("it was not ended") };
    assert_eq!((excess.of, excess.most.as_str()), (Resource::Tasks, "python3"));
    assert!(excess.used <= 92, "{excess}");
}

#[tokio::test]
async fn a_tree_that_uses_more_memory_than_it_may_is_ended_whole_and_says_so() {
    let (bed, marker) = (Bed::new(), marker());
    // In a child of a session of its own: it is the tree that has a limit, and not a process.
    let script = "b = bytearray(400 << 20); import time; time.sleep(600)";
    let mut spec = bed.sh(&format!("setsid sleep {marker} & setsid python3 -c '{script}' & wait"));
    spec.limits = Limits { memory: Some(200 * MIB), ..none() };
    let Exit::Exceeded(excess) = run(spec).await.exit else { panic!("it was not ended") };
    assert_eq!((excess.of, excess.limit, excess.most.as_str()), (Resource::Memory, 200 * MIB, "python3"), "{excess}");
    assert!(excess.to_string().starts_with("used more than 200 MiB of memory ("), "{excess}");
    assert_eq!(processes_with(&marker), [] as [i32; 0]);
}

#[tokio::test]
async fn files_in_the_private_tmp_are_memory_too() {
    let bed = Bed::new();
    let mut spec = bed.sh("head -c 100000000 /dev/zero > /tmp/big; sleep 600");
    spec.limits = Limits { memory: Some(64 * MIB), ..none() };
    let Exit::Exceeded(excess) = run(spec).await.exit else { panic!("it was not ended") };
    assert_eq!(excess.most, "files in /tmp", "{excess}");
}

#[tokio::test]
async fn memory_that_many_share_is_counted_once() {
    let bed = Bed::new();
    // Twenty processes with the same 40 MiB, which are 800 MiB if each is counted for itself.
    let script = "import os, time\nb = bytearray(os.urandom(1 << 20) * 40)\nfor _ in range(20):\n  if os.fork() == 0: time.sleep(3); os._exit(0)\nfor _ in range(20): os.wait()\nprint(len(b) >> 20)";
    let mut spec = bed.sh(&format!("exec python3 -c '{script}'"));
    spec.limits = Limits { memory: Some(300 * MIB), ..none() };
    let output = run(spec).await;
    assert_eq!((output.stdout.as_str(), output.exit), ("40\n", Exit::Code(0)), "{}", output.stderr);
}

/// Init runs before what it watches, where that is allowed; the program is as nice as its launcher.
#[tokio::test]
async fn a_program_has_the_ordinary_priority() {
    let bed = Bed::new();
    let output = run(bed.sh("cut -d' ' -f19 /proc/self/stat; cut -d' ' -f19 /proc/1/stat")).await;
    let root = nix::unistd::getuid().is_root();
    assert_eq!(output.stdout, if root { "0\n-10\n" } else { "0\n0\n" });
}
