//! From exec to the first answer.

use super::Scale;
use crate::figure::{Figures, Goal};
use anyhow::{Context, Result, bail};
use octo_e2e::Instance;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often it is asked.
const ASK: Duration = Duration::from_micros(500);

/// A port that is free just now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Milliseconds from the start until `/api/health` answers.
fn answers(start: impl FnOnce(u16) -> Result<Child>, port: u16) -> Result<(Child, f64)> {
    let began = Instant::now();
    let child = start(port)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while began.elapsed() < Duration::from_secs(60) {
        if let Ok(mut socket) = TcpStream::connect(address) {
            socket.write_all(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            if socket.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200") {
                return Ok((child, began.elapsed().as_secs_f64() * 1000.0));
            }
        }
        std::thread::sleep(ASK);
    }
    bail!("nobody answered on port {port}")
}

/// The floor takes a port of its own choice: asked for by its output.
fn floor() -> Result<f64> {
    let began = Instant::now();
    let floor = crate::process::FloorProcess::start(&["hello"], None)?;
    let mut socket = TcpStream::connect(("127.0.0.1", floor.port))?;
    socket.write_all(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

fn octo(instance: &Instance) -> Result<f64> {
    let port = free_port()?;
    let serve = |port: u16| {
        let mut command: Command = instance.command("octo");
        command.args(["serve", "--port", &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("starting octo")
    };
    let (mut child, milliseconds) = answers(serve, port)?;
    child.kill()?;
    child.wait()?;
    Ok(milliseconds)
}

pub async fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    for _ in 0..scale.rounds {
        // The first start makes the store, the first admin and his password; its daemons stay.
        let instance = Instance::new(octo_e2e::Options::scripted());
        let mut show = |name, goal, octo, floor| figures.add("startup", name, "ms", goal, octo, Some(("plain axum", floor)));
        show("octo serve, the very first time", Goal::Shown, octo(&instance)?, floor()?);
        // What follows a plain kill is the ordinary restart.
        let mut times = Vec::new();
        for _ in 0..scale.pick(5, 1) {
            times.push((octo(&instance)?, floor()?));
        }
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (octo, floor) = times[times.len() / 2];
        show("octo serve, exec to first answer", Goal::AtMost(100.0), octo, floor);
    }
    Ok(())
}
