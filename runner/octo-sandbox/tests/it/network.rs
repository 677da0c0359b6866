//! The network, and the relay that works without one.

use octo_sandbox::{Bind, Exit, LaunchSpec, Network, RELAY_PORT_PLACEHOLDER, Relay};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

use crate::bed::{Bed, finish, launcher, line, run};

fn relayed(bed: &Bed, script: &str) -> LaunchSpec {
    let mut spec = bed.sh("");
    spec.program = "/bin/bash".into();
    spec.args = vec!["-c".to_owned(), script.to_owned(), "bash".to_owned(), RELAY_PORT_PLACEHOLDER.to_owned()];
    spec.env.insert("URL".to_owned(), format!("http://127.0.0.1:{RELAY_PORT_PLACEHOLDER}/demo"));
    let directory = bed.outside("llm");
    std::fs::create_dir_all(&directory).unwrap();
    spec.binds = vec![Bind::read_only(directory, "/run/octo/llm")];
    spec.relay = Some(Relay { socket: "/run/octo/llm/eavs.sock".into() });
    spec
}

/// Answers each connection with its greeting and then with what it is sent.
fn serve(bed: &Bed, greeting: &'static str) -> tokio::task::JoinHandle<()> {
    let path = bed.outside("llm/eavs.sock");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                stream.write_all(greeting.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    })
}

#[tokio::test]
async fn without_network_there_is_loopback_and_nothing_else() {
    let bed = Bed::new();
    let mut spec = bed.sh("tail -n +3 /proc/net/dev | cut -d: -f1; cat /proc/net/route | wc -l");
    spec.network = Network::None;
    assert_eq!(run(spec).await.stdout.split_whitespace().collect::<Vec<_>>(), ["lo", "1"]);
}

#[tokio::test]
async fn the_relay_works_with_and_without_network_and_its_port_is_filled_in() {
    for network in [Network::Open, Network::None] {
        let bed = Bed::new();
        let script = "[ $URL = http://127.0.0.1:$1/demo ] || echo $URL $1; exec 3<>/dev/tcp/127.0.0.1/$1; \
                      read -u 3 greeting; echo $greeting; echo question >&3; read -u 3 answer; echo $answer";
        let mut spec = relayed(&bed, script);
        spec.network = network;
        let server = serve(&bed, "hello\n");
        let mut sandboxed = launcher().spawn(spec).await.unwrap();
        assert!(sandboxed.started().await.unwrap().relay_port.is_some());
        let output = finish(sandboxed).await;
        assert_eq!((output.stdout.as_str(), output.exit), ("hello\nquestion\n", Exit::Code(0)), "{}", output.stderr);
        server.abort();
    }
}

#[tokio::test]
async fn a_restarted_server_is_reached_again() {
    let bed = Bed::new();
    let script = "say() { exec 3<>/dev/tcp/127.0.0.1/$1; read -u 3 greeting; echo $greeting; exec 3>&-; }; \
                  say $1; read go; say $1";
    let spec = relayed(&bed, script);
    let first = serve(&bed, "first\n");
    let mut sandboxed = launcher().spawn(spec).await.unwrap();
    assert_eq!(line(&mut sandboxed).await, "first");
    first.abort();
    let _ = first.await;
    std::fs::remove_file(bed.outside("llm/eavs.sock")).unwrap();
    // Asked while nobody listens: the connection waits for the server to come back.
    sandboxed.stdin.as_ref().unwrap().try_write(b"go\n").unwrap();
    let second = serve(&bed, "second\n");
    assert_eq!(finish(sandboxed).await.stdout, "second\n");
    second.abort();
}

#[tokio::test]
async fn a_large_transfer_arrives_byte_for_byte() {
    let bed = Bed::new();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(bed.workspace.join("sent"), &content).unwrap();
    let spec = relayed(&bed, "exec 3<>/dev/tcp/127.0.0.1/$1; cat sent >&3 & head -c 3000000 <&3 > received; wait; echo done");
    let server = serve(&bed, "");
    let output = run(spec).await;
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("done\n", ""));
    assert!(std::fs::read(bed.workspace.join("received")).unwrap() == content);
    server.abort();
}

#[tokio::test]
async fn the_relay_is_not_there_unless_asked_for() {
    let bed = Bed::new();
    let mut spec = bed.sh(&format!("echo {RELAY_PORT_PLACEHOLDER}; ls /run/octo"));
    spec.network = Network::None;
    let mut sandboxed = launcher().spawn(spec).await.unwrap();
    assert_eq!(sandboxed.started().await.unwrap().relay_port, None);
    let mut text = String::new();
    sandboxed.stdout.as_mut().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, format!("{RELAY_PORT_PLACEHOLDER}\nbin\n"));
}
