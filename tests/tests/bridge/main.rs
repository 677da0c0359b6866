//! pi-bridge with the real pi and the real Claude Code on the demo model of a real octo-eavs: by HTTP, SSE and WebSocket, with connections cut in
//! mid-turn, the bridge killed in mid-turn, and octo in front of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cuts;
mod door;
mod kills;
mod octo;
mod proxy;
mod reader;
mod room;
