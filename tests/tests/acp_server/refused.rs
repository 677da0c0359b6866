//! Who may not, and what cannot be.

use crate::puppet::{Puppet, Sdk, Way, token};
use crate::raw::Raw;
use octo_e2e::{Instance, Options, request};
use serde_json::{Value, json};

async fn started() -> (Instance, String) {
    let mut instance = Instance::new(Options::default());
    instance.start().await;
    let token = token(&instance).await;
    (instance, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_acp_is_refused_with_a_sentence_or_told_which_one_octo_speaks() {
    let (instance, token) = started().await;
    for (sdk, way) in [(Sdk::TypeScript, Way::Stdio), (Sdk::Python, Way::Socket), (Sdk::TypeScript, Way::Http)] {
        let mut client = Puppet::start(sdk, way, &instance, &token);
        let refused = client.refused("initialize", &json!({"protocolVersion": 0, "clientCapabilities": {}}));
        assert_eq!(refused["code"], -32602, "{refused}");
        let sentence = refused["message"].as_str().unwrap();
        assert!(sentence.contains("version 1 of the Agent Client Protocol") && sentence.contains("not 0"), "{sentence}");
    }
    let bearer = format!("Bearer {token}");
    for version in [json!("2024-11-05"), Value::Null, json!(-1), json!(1.5)] {
        let mut raw = Raw::connect(&instance, &[("authorization", &bearer)]).await.unwrap();
        let refused = raw.ask(1, "initialize", json!({"protocolVersion": version})).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert_eq!(refused["error"]["data"]["supported"], json!([1]), "{refused}");
        // Nothing else is done for it.
        let after = raw.ask(2, "session/new", json!({"cwd": instance.workspace(), "mcpServers": []})).await;
        assert_eq!(after["error"]["code"], -32600, "{after}");
    }
    let mut raw = Raw::connect(&instance, &[("authorization", &bearer)]).await.unwrap();
    let later = raw.ask(1, "initialize", json!({"protocolVersion": 2})).await;
    assert_eq!(later["result"]["protocolVersion"], 1, "as ACP has it: the newest that octo speaks, and the client decides");
    assert!(later["result"]["_meta"]["octo"]["notice"].as_str().unwrap().contains("not version 2"), "{later}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_that_holds_there_is_nothing() {
    let (instance, token) = started().await;
    for sdk in [Sdk::TypeScript, Sdk::Python] {
        let mut client = Puppet::start(sdk, Way::Stdio, &instance, "wrong");
        let refused = client.refused("initialize", &json!({"protocolVersion": 1, "clientCapabilities": {}}));
        assert_eq!(refused["code"], -32000, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains("not valid"), "{refused}");
    }
    let mut client = Puppet::start(Sdk::TypeScript, Way::Stdio, &instance, "");
    let refused = client.refused("initialize", &json!({"protocolVersion": 1, "clientCapabilities": {}}));
    assert!(refused["message"].as_str().unwrap().contains("OCTO_AUTH_TOKEN"), "{refused}");
    // In a file that others may read it is none either.
    let file = instance.home().join("token");
    std::fs::write(&file, &token).unwrap();
    let named = ["--token-file", file.to_str().unwrap()];
    let mut client = Puppet::start_with(Sdk::TypeScript, Way::Stdio, &instance, "", &named);
    let refused = client.refused("initialize", &json!({"protocolVersion": 1, "clientCapabilities": {}}));
    assert!(refused["message"].as_str().unwrap().contains("chmod 600"), "{refused}");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    Puppet::start_with(Sdk::TypeScript, Way::Stdio, &instance, "", &named).initialize();

    let bearer = format!("Bearer {token}");
    assert_eq!(Raw::connect(&instance, &[]).await.err(), Some(401));
    assert_eq!(Raw::connect(&instance, &[("authorization", "Bearer wrong")]).await.err(), Some(401));
    assert_eq!(Raw::connect(&instance, &[("authorization", &bearer), ("origin", "https://evil.example")]).await.err(), Some(403));
    let cookie = format!("auth_token={token}");
    assert_eq!(Raw::connect(&instance, &[("cookie", &cookie)]).await.err(), Some(403), "a cookie comes from a page that may");
    assert!(Raw::connect(&instance, &[("cookie", &cookie), ("origin", &instance.url())]).await.is_ok());
    let url = format!("{}/acp", instance.url());
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}});
    assert_eq!(request("POST", &url, None, Some(&initialize)).await.unwrap().status, 401);
    assert_eq!(request("GET", &url, None, None).await.unwrap().status, 401);
    assert_eq!(request("DELETE", &url, None, None).await.unwrap().status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_log_out_connections_end() {
    let (instance, token) = started().await;
    let mut raw = Raw::open(&instance, &token).await;
    let mut client = Puppet::start(Sdk::TypeScript, Way::Stdio, &instance, &token);
    client.initialize();
    let session = client.new_session(&instance);
    let mut over_http = Puppet::start(Sdk::Python, Way::Http, &instance, &token);
    over_http.initialize();
    let out = request("POST", &format!("{}/api/auth/logout", instance.url()), Some(&token), None).await.unwrap();
    assert!(out.status < 300, "{}", out.status);
    assert_eq!(raw.next().await, Err(1008));
    let refused = client.refused("session/prompt", &json!({"sessionId": session, "prompt": [{"type": "text", "text": "Hello?"}]}));
    assert_eq!(refused["code"], -32000, "{refused}");
    over_http.refused("session/list", &json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_costs_its_own_answer_and_nothing_else() {
    let (instance, token) = started().await;
    let mut raw = Raw::open(&instance, &token).await;
    for (text, code) in [("{", -32700), ("[]", -32600), ("{}", -32600), (r#"{"jsonrpc":"2.0","id":9,"method":"no/such"}"#, -32601)] {
        raw.text(text).await;
        let refused = raw.until(|message| message["error"].is_object()).await;
        assert_eq!(refused["error"]["code"], code, "{text}: {refused}");
    }
    for (method, params, word) in [
        ("session/new", json!({}), "cwd"),
        ("session/new", json!({"cwd": "relative", "mcpServers": []}), "absolute"),
        ("session/new", json!({"cwd": "/no/such/folder", "mcpServers": []}), "does not exist"),
        ("session/new", json!({"cwd": instance.workspace(), "mcpServers": [], "additionalDirectories": ["/tmp"]}), "one folder"),
        ("session/new", json!({"cwd": instance.workspace(), "mcpServers": [], "_meta": {"octo": {"harness": "nobody"}}}), "nobody"),
        ("session/prompt", json!({"sessionId": "none", "prompt": []}), "session/load"),
        ("session/set_mode", json!({"sessionId": "none", "modeId": "ask"}), "session/load"),
        ("session/close", json!({"sessionId": "none"}), "session/load"),
        ("initialize", json!({"protocolVersion": 1}), "already"),
    ] {
        let refused = raw.ask(10, method, params).await;
        assert!(refused["error"]["message"].as_str().is_some_and(|message| message.contains(word)), "{method}: {refused}");
    }
    for method in ["session/load", "session/resume"] {
        for id in ["none", "../x", "bob/ses_1"] {
            let refused = raw.ask(10, method, json!({"sessionId": id, "cwd": "/", "mcpServers": []})).await;
            assert_eq!(refused["error"]["code"], -32002, "{method} {id}: {refused}");
        }
    }
    let made = raw
        .ask(
            11,
            "session/new",
            json!({"cwd": instance.workspace(), "mcpServers": [{"name": "mine", "command": "x", "args": [], "env": []}]}),
        )
        .await;
    let session = made["result"]["sessionId"].as_str().unwrap().to_owned();
    let notice = raw.until(|message| message["params"]["update"]["_meta"]["octo"]["notice"] == "mcp_servers").await;
    assert!(notice.to_string().contains("mine"), "{notice}");
    let audio = json!({"sessionId": session, "prompt": [{"type": "audio", "data": "AA", "mimeType": "audio/wav"}]});
    let refused = raw.ask(12, "session/prompt", audio).await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("audio"), "{refused}");
    let empty = raw.ask(13, "session/prompt", json!({"sessionId": session, "prompt": []})).await;
    assert!(empty["error"]["message"].as_str().unwrap().contains("empty"), "{empty}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_too_much_at_once_hears_of_the_limit() {
    let (instance, token) = started().await;
    let mut raw = Raw::open(&instance, &token).await;
    let made = raw.ask(1, "session/new", json!({"cwd": instance.workspace(), "mcpServers": []})).await;
    let session = made["result"]["sessionId"].as_str().unwrap().to_owned();
    let script = octo_e2e::demo_prompt("Wait.", &[octo_e2e::Turn::text("slow ".repeat(100)).slowly(100, 100)]);
    for id in 100..133 {
        let params = json!({"sessionId": session, "prompt": [{"type": "text", "text": script}]});
        raw.send(&json!({"jsonrpc": "2.0", "id": id, "method": "session/prompt", "params": params})).await;
    }
    let refused = raw.until(|message| message["error"].is_object()).await;
    assert_eq!(refused["id"], 132, "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("32 requests"), "{refused}");
    // A cancel is none of them, and ends them all.
    raw.send(&json!({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": session}})).await;
    for _ in 0..32 {
        let end = raw.until(|message| message["id"].is_u64()).await;
        assert_eq!(end["result"]["stopReason"], "cancelled", "{end}");
    }
}
