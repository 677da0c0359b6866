//! Resource limits hold for the program and its descendants.

use octo_sandbox::{Exit, Limits};

use crate::bed::{Bed, run};

fn none() -> Limits {
    Limits { nofile: None, nproc: None, core: None, fsize: None, cpu_seconds: None, tmp_bytes: None }
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

/// The kernel exempts the real root from this limit, so as root the launcher is started by somebody else.
#[tokio::test]
async fn a_fork_bomb_stops_at_its_limit() {
    let bed = Bed::new();
    let mut spec = bed.sh("i=0; while [ $i -lt 60 ]; do i=$((i+1)); sleep 1000 & done; echo none refused");
    spec.limits = Limits { nproc: Some(20), ..none() };
    let output = run(spec).await;
    let root = nix::unistd::getuid().is_root();
    assert_eq!(output.stdout.contains("none refused"), root, "{}", output.stderr);
}
