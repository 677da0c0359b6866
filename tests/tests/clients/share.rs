//! What those who read have of one who does not: nothing. Its correctness always; its figure, a ratio within one run, is printed.

use crate::room::{agrees, attached, full, healthy, instance, turn};
use futures_util::StreamExt;
use octo_e2e::{Client, Instance, PATIENCE, Path, Script, Stamp, monotonic_ns};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

/// One who reads, and looks at nothing but the deltas: their order, and how long each was on its way.
struct Reader {
    socket: Socket,
}

impl Reader {
    async fn attached(instance: &Instance, token: &str) -> Self {
        let mut request = format!("{}/api/ws/mux", instance.url().replace("http://", "ws://")).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let stream = Path::default().dial(instance.port()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let attach = json!({"channel": "agent", "id": "a", "session_id": "ses", "cmd": "session.attach"});
        futures_util::SinkExt::send(&mut socket, Message::text(attach.to_string())).await.unwrap();
        let mut reader = Self { socket };
        while !reader.text().await.contains("\"event\":\"replay.end\"") {}
        reader
    }

    async fn text(&mut self) -> String {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something comes").expect("the connection holds");
            if let Message::Text(text) = message.expect("the connection holds") {
                return text.as_str().to_owned();
            }
        }
    }

    /// Reads one turn; nanoseconds that each delta was on its way.
    async fn turn(&mut self, script: &Script) -> Vec<u64> {
        let mut latencies = Vec::new();
        loop {
            let text = self.text().await;
            let now = monotonic_ns();
            if text.contains("\"event\":\"agent.idle\"") {
                assert_eq!(latencies.len() as u64, script.deltas, "every delta");
                return latencies;
            }
            let Some((_, delta)) = text.split_once("\"delta\":\"").filter(|_| text.contains("stream.text_delta")) else { continue };
            let stamp = Stamp::of(delta).expect("a delta of the script");
            assert_eq!(stamp.index, latencies.len() as u64, "in order");
            latencies.push(now.saturating_sub(stamp.written));
        }
    }
}

/// A turn that all readers read; the 99th percentile of all their deltas, in microseconds.
async fn measure(asker: &mut Client, readers: &mut [Reader], script: &Script, id: &str) -> f64 {
    let reading = futures_util::future::join_all(readers.iter_mut().map(|reader| reader.turn(script)));
    let ((), latencies) = tokio::join!(turn(asker, script, id), reading);
    let mut all: Vec<u64> = latencies.into_iter().flatten().collect();
    all.sort_unstable();
    all[all.len() * 99 / 100] as f64 / 1000.0
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_read_have_the_same_with_and_without_one_who_does_not() {
    let instance = instance("ping_seconds = 3600").await;
    let mut asker = healthy(&instance).await;
    let token = asker.token().to_owned();
    let (count, rounds, script) =
        if full() { (100, 7, Script::deltas(1000).paced(200.0)) } else { (20, 2, Script::deltas(100).paced(200.0)) };
    let script = script.size(120).stamped();
    let flood = Script::deltas(3000).size(300);
    let mut readers = Vec::new();
    for _ in 0..count {
        readers.push(Reader::attached(&instance, &token).await);
    }
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let mut pair = [0.0; 2];
        // Now one first, now the other: whatever the machine does besides falls on both.
        for with in if round % 2 == 0 { [false, true] } else { [true, false] } {
            let path = Path { source: None, receive_buffer: Some(4096) };
            let silent = if with { Some(attached(&instance, &token, path).await) } else { None };
            // More than its socket holds.
            measure(&mut asker, &mut readers, &flood.clone().stamped(), &format!("flood-{round}-{with}")).await;
            pair[usize::from(with)] = measure(&mut asker, &mut readers, &script, &format!("turn-{round}-{with}")).await;
            if let Some(mut silent) = silent {
                // The flood's end and the turn's.
                silent.idle("ses").await;
                silent.idle("ses").await;
                let seen = silent.checker.cursor("ses").unwrap();
                assert_eq!(Some(seen), asker.checker.cursor("ses"), "it has come as far as everybody");
            }
        }
        println!("round {round}: p99 {:.0} µs without, {:.0} µs with one of {} that never reads", pair[0], pair[1], count + 1);
        ratios.push(pair[1] / pair[0]);
    }
    ratios.sort_by(f64::total_cmp);
    println!("p99 of {count} readers with a silent one / without: {:.2} ({:.2}–{:.2})", ratios[rounds / 2], ratios[0], ratios[rounds - 1]);
    agrees(&mut asker).await;
}
