//! Terminals: a session of its own on a pseudo terminal.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
};

use octo_sandbox::{Exit, Stdio};

use crate::bed::{Bed, in_time, launcher};

/// Everything the terminal shows until its other side is gone.
fn screen(master: OwnedFd) -> tokio::task::JoinHandle<String> {
    tokio::task::spawn_blocking(move || {
        let (mut file, mut shown, mut chunk) = (File::from(master), Vec::new(), [0; 4096]);
        // The end of a terminal is EIO on Linux.
        while let Ok(count @ 1..) = file.read(&mut chunk) {
            shown.extend_from_slice(&chunk[..count]);
        }
        String::from_utf8_lossy(&shown).into_owned()
    })
}

#[tokio::test]
async fn a_terminal_is_the_controlling_one_and_its_end_is_seen() {
    let bed = Bed::new();
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut spec =
        bed.sh("exec 3<>/dev/tty && echo controlling; tty; [ $(ps -o sid= -p $$) = $$ ] && echo own session; ls -1 /proc/$$/fd; exit 5");
    spec.stdio = Stdio::Terminal(pty.slave);
    let shown = screen(pty.master);
    let mut sandboxed = launcher().spawn(spec).await.unwrap();
    assert_eq!(in_time(sandboxed.wait()).await, Exit::Code(5));
    assert_eq!(in_time(shown).await.unwrap(), "controlling\r\n/dev/console\r\nown session\r\n0\r\n1\r\n2\r\n3\r\n");
}

#[tokio::test]
async fn control_c_typed_at_the_terminal_reaches_the_program() {
    let bed = Bed::new();
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut spec = bed.sh("trap 'echo interrupted; exit 9' INT; echo ready; read forever");
    spec.stdio = Stdio::Terminal(pty.slave);
    let mut typist = File::from(pty.master.try_clone().unwrap());
    let mut sandboxed = launcher().spawn(spec).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("ready") {
        let mut chunk = [0; 64];
        let count = typist.read(&mut chunk).unwrap();
        seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    typist.write_all(b"\x03").unwrap();
    let shown = screen(pty.master);
    assert_eq!(in_time(sandboxed.wait()).await, Exit::Code(9));
    drop(typist);
    assert!(in_time(shown).await.unwrap().contains("interrupted"));
}

#[tokio::test]
async fn nothing_can_be_typed_into_a_terminal_from_inside() {
    let bed = Bed::new();
    let pty = nix::pty::openpty(None, None).unwrap();
    // TIOCSTI; EPERM is 1, and what a kernel without the request says is 5 (EIO).
    let mut spec = bed.sh(r#"exec perl -e 'my $c = "x"; ioctl(STDIN, 0x5412, $c) and exit 0; exit(10 + $!)'"#);
    spec.stdio = Stdio::Terminal(pty.slave);
    let shown = screen(pty.master);
    let mut sandboxed = launcher().spawn(spec).await.unwrap();
    assert_eq!(in_time(sandboxed.wait()).await, Exit::Code(11));
    assert_eq!(in_time(shown).await.unwrap(), "");
}
