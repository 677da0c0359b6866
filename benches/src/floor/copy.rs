//! A blocking copy from a pipe to sockets: what an event costs when nothing is done with it.

use super::{SWITCHING, frame, listen, read_head};
use anyhow::Result;
use std::io::{BufRead, Write};

pub fn run(watchers: usize) -> Result<()> {
    let listener = listen()?;
    let mut sockets = Vec::with_capacity(watchers);
    for _ in 0..watchers {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        read_head(&mut socket)?;
        socket.write_all(SWITCHING)?;
        sockets.push(socket);
    }
    let mut line = Vec::new();
    let mut stdin = std::io::stdin().lock();
    while stdin.read_until(b'\n', &mut line)? > 0 {
        let frame = frame(line.strip_suffix(b"\n").unwrap_or(&line));
        for socket in &mut sockets {
            socket.write_all(&frame)?;
        }
        line.clear();
    }
    Ok(())
}
