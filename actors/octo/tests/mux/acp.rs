//! `/acp`: whose sessions and connections there are, what HTTP is answered, and a client that does not read.

use crate::support::Instance;
use futures_util::{SinkExt as _, StreamExt as _};
use octo::auth::Role;
use octo_protocol::Event;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

struct Editor {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    told: Vec<Value>,
}

impl Editor {
    async fn open(instance: &Instance, token: &str) -> Self {
        let mut request = format!("ws://{}/acp", instance.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let (socket, response) = tokio_tungstenite::connect_async(request).await.unwrap();
        assert!(response.headers().contains_key("acp-connection-id"));
        let mut editor = Self { socket, told: Vec::new() };
        editor.ask(0, "initialize", json!({"protocolVersion": 1})).await;
        editor
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        self.until(|message| message["id"] == id && message.get("method").is_none()).await
    }

    async fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    self.told.push(message.clone());
                    if is(&message) {
                        return message;
                    }
                }
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_another_user_does_not_exist() {
    let instance = Instance::start().await;
    let (alices, _bobs) = (instance.runner("alice"), instance.runner("bob"));
    alices.open("s");
    let mut alice = Editor::open(&instance, &instance.token("alice", Role::User).await).await;
    assert_eq!(alice.ask(1, "session/list", json!({})).await["result"]["sessions"][0]["sessionId"], "s");
    assert!(alice.ask(2, "session/load", json!({"sessionId": "s", "cwd": "/", "mcpServers": []})).await["result"].is_object());
    // Neither to a user, nor, by this way, to an admin.
    for (name, role) in [("bob", Role::User), ("carol", Role::Admin)] {
        let _runner = (name == "carol").then(|| instance.runner(name));
        let mut other = Editor::open(&instance, &instance.token(name, role).await).await;
        assert_eq!(other.ask(1, "session/list", json!({})).await["result"]["sessions"], json!([]));
        for (n, id) in ["s", "alice/s", "none"].into_iter().enumerate() {
            for (m, method) in
                ["session/load", "session/resume", "session/delete", "session/close", "session/prompt"].into_iter().enumerate()
            {
                let params = json!({"sessionId": id, "cwd": "/", "mcpServers": [], "prompt": []});
                let refused = other.ask((10 * n + m + 2) as u64, method, params).await;
                assert_eq!(refused["error"]["code"], -32002, "{name} {method} {id}: {refused}");
            }
        }
    }
    assert_eq!(alices.head("s"), 0);
}

/// Method, token, headers, body, and the status that is answered.
type Case<'a> = (&'a reqwest::Method, &'a str, Vec<(&'a str, &'a str)>, Option<&'a str>, u16);

struct Answered {
    status: u16,
    connection: Option<String>,
    body: Value,
}

async fn http(instance: &Instance, method: reqwest::Method, token: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answered {
    let client = reqwest::Client::builder().build().unwrap();
    let mut request = client.request(method, format!("http://{}/acp", instance.address)).bearer_auth(token);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.body(body.to_owned());
    }
    let response = request.send().await.unwrap();
    let (status, connection) = (response.status().as_u16(), response.headers().get("acp-connection-id").cloned());
    let streams = response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let body = if streams { Value::Null } else { serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default() };
    Answered { status, connection: connection.map(|id| id.to_str().unwrap().to_owned()), body }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_a_connection_is_its_makers_and_what_is_wrong_is_said() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let (alice, bob) = (instance.token("alice", Role::User).await, instance.token("bob", Role::User).await);
    let (get, post, delete) = (reqwest::Method::GET, reqwest::Method::POST, reqwest::Method::DELETE);
    let json_type = ("content-type", "application/json");
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}}).to_string();
    let made = http(&instance, post.clone(), &alice, &[json_type], Some(&initialize)).await;
    assert_eq!((made.status, &made.body["result"]["protocolVersion"]), (200, &json!(1)));
    let id = made.connection.unwrap();
    let of = ("acp-connection-id", id.as_str());
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "session/list", "params": {}}).to_string();
    let close = json!({"jsonrpc": "2.0", "id": 2, "method": "session/close", "params": {"sessionId": "s"}}).to_string();
    let accept = ("accept", "text/event-stream");
    let cases: [Case<'_>; 15] = [
        (&post, &alice, vec![of], Some(&list), 415),
        (&post, &alice, vec![json_type], Some(&list), 400),
        (&post, &alice, vec![json_type, ("acp-connection-id", "none")], Some(&list), 404),
        (&post, &bob, vec![json_type, of], Some(&list), 404),
        (&post, &alice, vec![json_type, of], Some(&initialize), 400),
        (&post, &alice, vec![json_type, of], Some("[]"), 400),
        (&post, &alice, vec![json_type, of], Some("{"), 400),
        (&post, &alice, vec![json_type, of], Some(&close), 400),
        (&post, &alice, vec![json_type, of, ("acp-session-id", "other")], Some(&close), 400),
        (&post, &alice, vec![json_type, of], Some(&list), 202),
        (&get, &alice, vec![of], None, 406),
        (&get, &bob, vec![of, accept], None, 404),
        (&get, &alice, vec![of, accept], None, 200),
        (&delete, &bob, vec![of], None, 404),
        (&delete, &alice, vec![of], None, 202),
    ];
    for (n, (method, token, headers, body, status)) in cases.into_iter().enumerate() {
        let answered = http(&instance, method.clone(), token, &headers, body).await;
        assert_eq!(answered.status, status, "case {n}: {}", answered.body);
    }
    while http(&instance, get.clone(), &alice, &[of, accept], None).await.status != 404 {}
    // A version that there is nothing to speak of is refused in JSON-RPC, which is what the client reads.
    let version = initialize.replace("\"protocolVersion\":1", "\"protocolVersion\":0");
    let refused = http(&instance, post, &alice, &[json_type], Some(&version)).await;
    assert_eq!(refused.body["error"]["code"], -32602, "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_misses_nothing_and_holds_up_nobody() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let token = instance.token("alice", Role::User).await;
    let (mut slow, mut other) = (Editor::open(&instance, &token).await, Editor::open(&instance, &token).await);
    for editor in [&mut slow, &mut other] {
        editor.ask(1, "session/load", json!({"sessionId": "s", "cwd": "/", "mcpServers": []})).await;
    }
    // Far more than rings and sockets hold.
    let piece = "x".repeat(16 * 1024);
    let messages = 40;
    let mut whole = String::new();
    for n in 0..messages {
        let (id, mut text) = (format!("m{n}"), String::new());
        runner.begin("s", &id, 0);
        for m in 0..20 {
            let delta = format!("{n}.{m}:{piece}");
            runner.delta("s", &id, &delta);
            text.push_str(&delta);
        }
        runner.finish("s", &id, &text);
        whole.push_str(&text);
    }
    runner.put("s", Event::SessionTitleChanged { title: "the end".to_owned(), readable_id: None });
    let is_end = |message: &Value| message["params"]["update"]["title"] == "the end";
    for editor in [&mut other, &mut slow] {
        editor.until(is_end).await;
        let updates = editor
            .told
            .iter()
            .map(|message| &message["params"]["update"])
            .filter(|update| update["sessionUpdate"] == "agent_message_chunk");
        let told: String = updates.filter_map(|update| update["content"]["text"].as_str()).collect();
        let at = told.bytes().zip(whole.bytes()).position(|(a, b)| a != b);
        assert!(told == whole, "{} bytes of {}, other ones from {at:?} on", told.len(), whole.len());
    }
}
