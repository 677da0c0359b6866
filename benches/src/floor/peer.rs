//! What somebody writes with axum in an afternoon: a task for each connection, a broadcast channel, one `send` for each event.

use super::{listen, payload};
use anyhow::Result;
use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocketUpgrade};
use axum::routing::get;
use tokio::io::AsyncBufReadExt;
use tokio::sync::broadcast;

/// What is broadcast for each line of stdin.
#[derive(Debug, Clone, clap::Args)]
pub struct Burst {
    #[arg(long)]
    pub size: usize,
    /// Events that the channel holds; who falls further behind loses them, and these shall not.
    #[arg(long)]
    pub room: usize,
    /// Bytes of the read buffer of each connection; axum's own choice without it.
    #[arg(long)]
    pub read_buffer: Option<usize>,
}

pub async fn run(burst: Burst) -> Result<()> {
    let (say, _) = broadcast::channel::<Utf8Bytes>(burst.room.max(1));
    let (speaker, buffer) = (say.clone(), burst.read_buffer);
    let upgrade = move |ws: WebSocketUpgrade| {
        let mut hear = say.subscribe();
        let ws = if let Some(bytes) = buffer { ws.read_buffer_size(bytes) } else { ws };
        async move {
            ws.on_upgrade(async move |mut socket| {
                loop {
                    tokio::select! {
                        text = hear.recv() => {
                            let Ok(text) = text else { return };
                            if socket.send(Message::Text(text)).await.is_err() {
                                return;
                            }
                        }
                        came = socket.recv() => if !matches!(came, Some(Ok(_))) { return },
                    }
                }
            })
        }
    };
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new().route("/", get(upgrade));
    tokio::spawn(
        async move { axum::serve(axum::serve::ListenerExt::tap_io(listener, |socket| drop(socket.set_nodelay(true))), router).await },
    );
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        for number in 1..=line.trim().parse()? {
            let _ = speaker.send(payload(number, burst.size).into());
        }
    }
    Ok(())
}

pub async fn hello() -> Result<()> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let router = Router::new().route("/api/health", get(async || "ok"));
    Ok(axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await?)
}
