//! What passes: bytes, pieces, headers, ends; and what never does.

use serde_json::{Value, json};

use crate::instance::{Instance, PATIENCE};
use crate::provider::{CANARY, Provider, config};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came")
}

#[tokio::test]
async fn bytes_pass_exactly_and_each_piece_is_seen_before_the_next_is_sent() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("session/a", json!({})).await;
    // Odd on purpose: spacing, an escaped key, doubled keys, a line separator, no end of line.
    let body = "\t{ \"stream\" : true,\r\n\"mod\\u0065l\":\"m\", \"model\": \"m\", \"x\":\"\u{2028}ä\\u00e4\" ,\"n\":1.0e0 } ";
    let request = eavs
        .post(&key, "/ant/v1/messages?beta=true&x=%20y", body)
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "a-1,b-2")
        .header("accept-encoding", "gzip, br")
        .header("x-mine", "kept")
        .header("connection", "x-drop")
        .header("x-drop", "1");
    let answer = tokio::spawn(request.send());
    let mut exchange = provider.next().await;
    assert!(exchange.head.starts_with("post /v1/messages?beta=true&x=%20y http/1.1\r\n"), "{}", exchange.head);
    for line in ["anthropic-version: 2023-06-01", "anthropic-beta: a-1,b-2", "x-mine: kept", "accept-encoding: identity"] {
        assert!(exchange.head.contains(line), "{line} in {}", exchange.head);
    }
    assert!(exchange.head.contains(&format!("x-api-key: {}", CANARY.to_ascii_lowercase())));
    assert!(exchange.head.contains(&format!("content-length: {}", body.len())), "framed as it came: {}", exchange.head);
    assert!(!exchange.head.contains("eavs-") && !exchange.head.contains("x-drop") && !exchange.head.contains("authorization"));
    assert_eq!(exchange.body, body.as_bytes());

    exchange.head("200 OK", "content-type: text/event-stream; charset=utf-8\r\nrequest-id: r1\r\nx-two: 1\r\nx-two: 2\r\n").await;
    let mut answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["request-id"], "r1");
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(answer.headers().get_all("x-two").iter().count(), 2);
    assert!(!answer.headers().contains_key("x-hop"), "hop-by-hop headers end at the proxy");
    // Borders within a line, within a character, within a line end; bytes that are no text at all.
    let pieces: [&[u8]; 8] =
        [b"ev", b"ent: x\nda", b"ta: {\"a\":\"\xc3", b"\xa4\"}\r", b"\n\r\n", b":", b"\xff\xfe\x00\x01", b"data: {\"usage\":{\"input_to"];
    for piece in pieces {
        exchange.chunk(piece).await;
        let seen = within(answer.chunk()).await.unwrap().unwrap();
        assert_eq!(seen, piece, "each piece by itself, unchanged");
    }
    exchange.end().await;
    assert_eq!(within(answer.chunk()).await.unwrap(), None);
}

#[tokio::test]
async fn a_request_streams_up_while_it_is_written() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("up", json!({})).await;
    let pieces: Vec<Vec<u8>> = (0..200).map(|n| vec![b'a' + (n % 26) as u8; 40_000]).collect();
    let whole = pieces.concat();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
    let answer = tokio::spawn(eavs.post(&key, "/chat/v1/files", body).send());
    let exchange = provider.next().await;
    assert!(exchange.head.contains(&format!("authorization: bearer {}", CANARY.to_ascii_lowercase())));
    assert!(!exchange.head.contains("eavs-") && !exchange.head.contains("x-api-key"), "the virtual key stays here: {}", exchange.head);
    assert!(exchange.body == whole, "8 MB arrive as they were sent");
    exchange.answer("201 Created", "application/x-odd", "ok").await;
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (201, "ok".to_owned()));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_413() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let free = eavs.key("free", json!({})).await;
    let bound = eavs.key("bound", json!({"allowed_models": ["m"]})).await;
    let big = vec![b' '; 33 * 1024 * 1024];
    let told = eavs.post(&free, "/ant/v1/messages", big.clone()).send().await.unwrap();
    assert_eq!(told.status().as_u16(), 413);
    assert_eq!(told.json::<Value>().await.unwrap()["error"]["type"], "request_too_large");
    assert!(provider.untouched(), "a length over the limit never reaches the provider");
    for key in [&free, &bound] {
        let pieces = big.chunks(64 * 1024).map(|p| Ok::<_, std::io::Error>(p.to_vec())).collect::<Vec<_>>();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let untold = eavs.post(key, "/chat/v1/chat/completions", body).send().await.unwrap();
        assert_eq!(untold.status().as_u16(), 413);
    }
}

#[tokio::test]
async fn a_cut_at_the_provider_is_a_cut_at_the_client() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("cut", json!({})).await;
    let answer = tokio::spawn(eavs.post(&key, "/ant/v1/messages", "{\"model\":\"m\"}").send());
    let mut exchange = provider.next().await;
    exchange.head("200 OK", "content-type: text/event-stream\r\n").await;
    let mut answer = within(answer).await.unwrap().unwrap();
    exchange.chunk(b"data: {\"half\":").await;
    assert_eq!(within(answer.chunk()).await.unwrap().unwrap(), "data: {\"half\":");
    drop(exchange);
    assert!(within(answer.chunk()).await.is_err(), "the client must not take it for the end");
    let usage = eavs.settled("cut", |u| u["failed_requests"] == 1).await;
    assert_eq!(usage["estimated_requests"], 1, "a cut answer is estimated, not free: {usage}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_at_the_provider() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("gone", json!({})).await;
    // In the middle of an answer.
    let answer = tokio::spawn(eavs.post(&key, "/ant/v1/messages", "{}").send());
    let mut exchange = provider.next().await;
    exchange.head("200 OK", "content-type: text/event-stream\r\n").await;
    exchange.chunk(b"data: 1\n\n").await;
    let mut answer = within(answer).await.unwrap().unwrap();
    within(answer.chunk()).await.unwrap();
    drop(answer);
    exchange.closed().await;
    // Before it has begun.
    let waiting = tokio::spawn(eavs.post(&key, "/ant/v1/messages", "{}").send());
    let mut exchange = provider.next().await;
    waiting.abort();
    exchange.closed().await;
    eavs.settled("gone", |u| u["failed_requests"] == 2).await;
}

#[tokio::test]
async fn a_provider_that_is_away_or_silent_is_said_in_its_own_error_shape() {
    let provider = Provider::start().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let text = format!(
        "[eavs]\nfirst_byte_timeout_seconds = 1\n[providers.away]\napi='anthropic-messages'\nbase_url='{away}'\napi_key='{CANARY}'\n\
         [providers.mute]\napi='openai-completions'\nbase_url='{}'\n[providers.bare]\napi='openai-responses'\nbase_url='{away}'\napi_key='env:NOWHERE'\n",
        provider.url
    );
    let eavs = Instance::start(&text).await;
    let key = eavs.key("e", json!({})).await;
    let get = async |path: &str| {
        let answer = eavs.post(&key, path, "{}").send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, error) = get("/away/v1/messages").await;
    assert_eq!((status, &error["type"], &error["error"]["type"]), (502, &json!("error"), &json!("api_error")));
    let said = error["error"]["message"].as_str().unwrap();
    assert!(said.contains("away") && said.contains("could not be reached") && said.contains("base_url"), "{said}");
    let (status, error) = get("/mute/v1/chat/completions").await;
    assert_eq!((status, &error["error"]["code"]), (504, &json!("upstream_timeout")));
    let (status, error) = get("/bare/v1/responses").await;
    assert_eq!(status, 502);
    assert!(error["error"]["message"].as_str().unwrap().contains("NOWHERE"));
    let (status, _) = get("/none/v1/responses").await;
    assert_eq!(status, 404);
    for path in ["/away/v1/..%2f..%2fadmin", "/away/v1/%2e%2e/x", "/away/v2/messages", "/away"] {
        assert_eq!(get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_real_key_is_seen_by_the_provider_and_nowhere_else() {
    let mut provider = Provider::start().await;
    let eavs =
        Instance::start_with(&config(&provider.url), &[("OPENAI_API_KEY", "sk-env-CANARY-42"), ("OPENAI_BASE_URL", &provider.url)]).await;
    let key = eavs.key("leak", json!({})).await;
    let mut seen = String::new();
    // A provider that quotes the key in head and body of its error, as some do.
    for (path, real) in [("/ant/v1/messages", CANARY), ("/openai/v1/responses", "sk-env-CANARY-42")] {
        let answer = tokio::spawn(eavs.post(&key, path, "{}").send());
        let mut exchange = provider.next().await;
        assert!(exchange.head.contains(&real.to_ascii_lowercase()));
        exchange.head("401 Unauthorized", &format!("content-type: application/json\r\nx-echo: Bearer {real}\r\n")).await;
        exchange.chunk(format!("{{\"error\":\"bad key {real}, again {real}\"}}").as_bytes()).await;
        exchange.end().await;
        let answer = within(answer).await.unwrap().unwrap();
        assert_eq!(answer.status().as_u16(), 401);
        seen += &format!("{:?}", answer.headers());
        let text = answer.text().await.unwrap();
        assert_eq!(text, "{\"error\":\"bad key [key], again [key]\"}");
        seen += &text;
    }
    for (method, path) in
        [("GET", "/admin/keys"), ("GET", "/admin/keys/leak"), ("GET", "/admin/providers"), ("POST", "/admin/reload"), ("GET", "/health")]
    {
        seen += &eavs.admin(method, path, Value::Null).await.1.to_string();
    }
    let misplaced = json!({"env": {"X": ["sk-body-CANARY"]}});
    seen += &eavs.admin("POST", "/admin/reload", misplaced).await.1.to_string();
    seen += &eavs.post("not-a-key-CANARY", "/ant/v1/messages?k=query-CANARY", "{}").send().await.unwrap().text().await.unwrap();
    seen += &eavs.log();
    assert!(seen.contains("key=leak"), "the log is written at all");
    assert!(!seen.contains("CANARY"), "a secret leaked");
    assert!(!seen.contains(&key), "a virtual key leaked");
    let providers = eavs.admin("GET", "/admin/providers", Value::Null).await.1;
    let ant = providers.as_array().unwrap().iter().find(|p| p["name"] == "ant").unwrap();
    assert_eq!((&ant["api"], &ant["has_api_key"]), (&json!("anthropic-messages"), &json!(true)));
    assert_eq!((&providers[0]["name"], &providers[0]["models"][0]["name"]), (&json!("demo"), &json!("Demo (scripted, no LLM)")));
}

#[tokio::test]
async fn usage_is_counted_and_priced_in_all_three_dialects() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let anthropic = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":100,\"cache_read_input_tokens\":40,\"cache_creation_input_tokens\":20,\"output_tokens\":1}}}\n\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":10}}\n\n";
    let chat = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":140,\"completion_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":40}}}\n\ndata: [DONE]\n\n";
    let responses =
        "{\"object\":\"response\",\"usage\":{\"input_tokens\":140,\"output_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":40}}}";
    for (name, path, kind, text, write, spend) in [
        ("ant", "/ant/v1/messages", "text/event-stream", anthropic, 20, 0.000_537),
        ("chat", "/chat/v1/chat/completions", "text/event-stream", chat, 0, 0.000_462),
        ("resp", "/resp/v1/responses", "application/json", responses, 0, 0.000_462),
    ] {
        let key = eavs.key(name, json!({})).await;
        let answer = tokio::spawn(eavs.post(&key, path, "{\"model\":\"m\"}").send());
        provider.next().await.answer("200 OK", kind, text).await;
        assert_eq!(within(answer).await.unwrap().unwrap().text().await.unwrap(), text);
        let usage = eavs.settled(name, |u| u["total_output_tokens"] == 10).await;
        assert_eq!(usage["total_input_tokens"], 100, "{name}: {usage}");
        assert_eq!(usage["total_cache_read_tokens"], 40);
        assert_eq!(usage["total_cache_write_tokens"], write);
        assert_eq!(usage["total_spend_usd"], spend, "{name}");
        assert_eq!((&usage["total_requests"], &usage["failed_requests"], &usage["estimated_requests"]), (&json!(1), &json!(0), &json!(0)));
    }
}

#[tokio::test]
async fn an_answer_of_a_told_length_is_framed_as_it_came_and_counted_as_whole() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("len", json!({})).await;
    let text = "{\"usage\":{\"input_tokens\":7,\"output_tokens\":8}}";
    let answer = tokio::spawn(eavs.post(&key, "/ant/v1/messages", "{\"model\":\"m\"}").send());
    provider.next().await.answer_of_length("application/json", text).await;
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["content-length"], text.len().to_string());
    assert_eq!(answer.text().await.unwrap(), text);
    let usage = eavs.settled("len", |u| u["total_output_tokens"] == 8).await;
    assert_eq!((&usage["failed_requests"], &usage["estimated_requests"]), (&json!(0), &json!(0)), "{usage}");
}
