//! The program's own process: its end, its signals, its id, its start.

use nix::sys::signal::{self, Signal as UnixSignal};
use octo_sandbox::{Exit, LaunchError, Signal};

use crate::bed::{Bed, command_line, finish, in_time, launcher, line, marker, run};

#[tokio::test]
async fn exit_codes_and_ending_signals_are_exact() {
    let bed = Bed::new();
    for (script, expected) in [
        ("exit 0", Exit::Code(0)),
        ("exit 1", Exit::Code(1)),
        ("exit 137", Exit::Code(137)),
        ("exit 255", Exit::Code(255)),
        ("kill -KILL $$", Exit::Signal(9)),
        ("kill -SEGV $$", Exit::Signal(11)),
        ("kill -40 $$", Exit::Signal(40)),
    ] {
        assert_eq!(run(bed.sh(script)).await.exit, expected, "{script}");
    }
}

#[tokio::test]
async fn each_signal_reaches_the_program() {
    let bed = Bed::new();
    for (signal, number) in [(Signal::Terminate, 15), (Signal::Interrupt, 2), (Signal::Hangup, 1), (Signal::Kill, 9)] {
        let mut sandboxed = launcher().spawn(bed.sh("echo ready; exec sleep 1000")).await.unwrap();
        assert_eq!(line(&mut sandboxed).await, "ready");
        assert!(sandboxed.signal(signal));
        assert_eq!(finish(sandboxed).await.exit, Exit::Signal(number));
    }
}

#[tokio::test]
async fn a_program_may_handle_its_signal() {
    let bed = Bed::new();
    let mut sandboxed = launcher().spawn(bed.sh("trap 'echo bye; exit 42' TERM; echo ready; read forever")).await.unwrap();
    assert_eq!(line(&mut sandboxed).await, "ready");
    assert!(sandboxed.controller().signal(Signal::Terminate));
    let output = finish(sandboxed).await;
    assert_eq!((output.stdout.as_str(), output.exit), ("bye\n", Exit::Code(42)));
}

#[tokio::test]
async fn a_program_that_ignores_requests_ends_by_kill_tree() {
    let bed = Bed::new();
    let script = "trap 'echo no' TERM; echo ready; while :; do read line || sleep 0.01; done";
    let mut sandboxed = launcher().spawn(bed.sh(script)).await.unwrap();
    assert_eq!(line(&mut sandboxed).await, "ready");
    sandboxed.signal(Signal::Terminate);
    sandboxed.stdin.as_ref().unwrap().try_write(b"\n").unwrap();
    assert_eq!(line(&mut sandboxed).await, "no");
    sandboxed.kill_tree();
    assert_eq!(finish(sandboxed).await.exit, Exit::TreeKilled);
}

#[tokio::test]
async fn the_agent_pid_is_the_programs_own_on_the_host() {
    let (bed, marker) = (Bed::new(), marker());
    let mut sandboxed = launcher().spawn(bed.sh(&format!("exec sleep {marker}"))).await.unwrap();
    assert_eq!(sandboxed.agent_pid(), None);
    let started = in_time(sandboxed.started()).await.unwrap();
    assert_eq!(sandboxed.agent_pid(), Some(started.agent_pid));
    // The shell becomes the program that it was given; while it does, it has no command line.
    let is_it = async || {
        while !command_line(started.agent_pid.as_raw()).contains(&marker) {
            tokio::task::yield_now().await;
        }
    };
    in_time(is_it()).await;
    signal::kill(started.agent_pid, UnixSignal::SIGKILL).unwrap();
    assert_eq!(in_time(sandboxed.wait()).await, Exit::Signal(9));
    assert_eq!(sandboxed.agent_pid(), None);
    assert_eq!(in_time(sandboxed.wait()).await, Exit::Signal(9), "asking again gives the same answer");
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_says_why() {
    let bed = Bed::new();
    crate::bed::write(&bed.workspace.join("no-program"), "just text");
    std::os::unix::fs::symlink("/nowhere", bed.workspace.join("link")).unwrap();
    let cases = [
        ("/nowhere/agent".to_owned(), "not visible in the sandbox"),
        ("no-such-agent".to_owned(), "not in the sandbox's PATH"),
        (format!("{}/no-program", bed.workspace.display()), "Permission denied"),
        (format!("{}/link", bed.workspace.display()), "not visible in the sandbox"),
        (bed.workspace.display().to_string(), "is not a file"),
    ];
    for (program, expected) in cases {
        let mut spec = bed.sh("");
        spec.program = program.clone().into();
        let mut sandboxed = launcher().spawn(spec).await.unwrap();
        let error = in_time(sandboxed.started()).await.unwrap_err();
        assert!(matches!(error, LaunchError::ExecFailed { .. }), "{error:?}");
        assert!(error.to_string().contains(expected) && error.to_string().contains(&program), "{error}");
        let exit = in_time(sandboxed.wait()).await;
        assert!(matches!(&exit, Exit::NotStarted { reason } if reason.contains(expected)), "{exit:?}");
    }
}

#[tokio::test]
async fn a_working_directory_that_is_not_there_is_named_as_the_reason() {
    let bed = Bed::new();
    let mut spec = bed.sh("pwd");
    spec.cwd = bed.workspace.join("gone");
    let error = in_time(launcher().spawn(spec).await.unwrap().started()).await.unwrap_err();
    assert!(error.to_string().contains("entering the working directory failed: No such file"), "{error}");
}

#[tokio::test]
async fn a_nul_byte_is_refused_and_not_cut_off() {
    let bed = Bed::new();
    let mut spec = bed.sh("true");
    spec.env.insert("KEY".to_owned(), "one\0two".to_owned());
    let error = in_time(launcher().spawn(spec).await.unwrap().started()).await.unwrap_err();
    assert!(error.to_string().contains("NUL byte"), "{error}");
}

#[tokio::test]
async fn input_and_both_outputs_pass_unchanged() {
    use tokio::io::AsyncWriteExt;
    let bed = Bed::new();
    let mut sandboxed = launcher().spawn(bed.sh("tee /dev/stderr | cat")).await.unwrap();
    let text = (0..20_000).map(|n| format!("{n} äöü\r\n")).collect::<String>();
    let (mut stdin, sent) = (sandboxed.stdin.take().unwrap(), text.clone());
    let writing = tokio::spawn(async move { stdin.write_all(sent.as_bytes()).await });
    let output = finish(sandboxed).await;
    writing.await.unwrap().unwrap();
    assert!(output.stdout == text && output.stderr == text);
}

#[tokio::test]
async fn the_program_starts_with_default_signals_and_an_empty_mask() {
    let bed = Bed::new();
    let mut spec = bed.sh("");
    spec.program = "/bin/cat".into();
    spec.args = vec!["/proc/self/status".to_owned()];
    let status = run(spec).await.stdout;
    for field in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "SigCgt:\t0000000000000000"] {
        assert!(status.contains(field), "{field} in\n{status}");
    }
}
