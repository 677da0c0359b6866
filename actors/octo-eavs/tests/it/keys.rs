//! Virtual keys: who gets in, how far, and for how long.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::instance::{Instance, PATIENCE};
use crate::provider::{Provider, config};

const HELLO: &str = "{\"model\":\"scripted\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

#[tokio::test]
async fn a_key_is_taken_from_any_header_that_sdks_use() {
    let eavs = Instance::start("").await;
    let key = eavs.key("h", json!({})).await;
    for (name, value) in [("authorization", format!("Bearer {key}")), ("x-api-key", key.clone()), ("x-goog-api-key", key.clone())] {
        let answer = eavs.post("", "/demo/v1/messages", HELLO).header(name, value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{name}");
    }
    for (secret, code) in
        [("", "missing_api_key"), ("eavs-00000000000000000000000000000000", "invalid_api_key"), ("sk-1", "invalid_api_key")]
    {
        let answer = eavs.post(secret, "/demo/v1/messages", HELLO).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401);
        let error: Value = answer.json().await.unwrap();
        assert_eq!(
            (&error["type"], &error["error"]["type"], &error["error"]["code"]),
            (&json!("error"), &json!("authentication_error"), &json!(code))
        );
    }
    let in_url = eavs.post("", &format!("/demo/v1/messages?key={key}"), HELLO).send().await.unwrap();
    assert_eq!(in_url.status().as_u16(), 401, "a key in a URL is no key");
}

#[tokio::test]
async fn putting_a_key_is_idempotent_and_deleting_it_takes_effect_at_once() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let secret = "eavs-0123456789abcdefghijklmnopqrstuv";
    let hash = hex::encode(Sha256::digest(secret));
    let body =
        json!({"hash": hash, "permissions": {"allowed_providers": ["ant", "demo"]}, "metadata": {"user": "alice", "session": "ses_1"}});
    let path = "/admin/keys/session%2Fses_1";
    assert_eq!(eavs.admin("PUT", path, body.clone()).await.0, 201);
    let (status, again) = eavs.admin("PUT", path, body.clone()).await;
    assert_eq!((status, &again["name"], &again["key_hash"]), (200, &json!("session/ses_1"), &json!(hash)));
    let (_, shown) = eavs.admin("GET", path, Value::Null).await;
    assert_eq!((&shown["metadata"]["user"], &shown["permissions"]["allowed_providers"]), (&json!("alice"), &json!(["ant", "demo"])));
    assert_eq!(eavs.admin("GET", "/admin/keys", Value::Null).await.1.as_array().unwrap().len(), 1);
    assert_eq!(eavs.admin("PUT", "/admin/keys/other", body).await.0, 409, "two keys with one secret");

    let answer = tokio::spawn(eavs.post(secret, "/ant/v1/messages", "{}").send());
    let mut exchange = provider.next().await;
    exchange.head("200 OK", "content-type: text/event-stream\r\n").await;
    exchange.chunk(b"data: 1\n\n").await;
    let mut answer = answer.await.unwrap().unwrap();
    answer.chunk().await.unwrap();
    assert_eq!(eavs.admin("DELETE", path, Value::Null).await.0, 204);
    let cut = tokio::time::timeout(PATIENCE, answer.chunk()).await.expect("the stream of a revoked key goes on");
    assert!(cut.is_err());
    exchange.closed().await;
    let refused = eavs.post(secret, "/ant/v1/messages", "{}").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 401);
    assert!(provider.untouched());
    assert_eq!(eavs.admin("DELETE", path, Value::Null).await.0, 404);
    assert_eq!(eavs.admin("GET", path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_key_that_is_wrong_is_said_with_what_is_wrong() {
    let eavs = Instance::start("").await;
    for (path, body, want) in [
        ("/admin/keys/a%20b", json!({"hash": "0".repeat(64)}), "A-Z a-z 0-9"),
        ("/admin/keys/a", json!({"hash": "short"}), "64 hexadecimal"),
        ("/admin/keys/a", json!({"hash": "0".repeat(64), "colour": 1}), "unknown field `colour`"),
        ("/admin/keys/a", json!({"hash": "0".repeat(64), "permissions": {"max_budget_usd": -1}}), "0 or more"),
        ("/admin/keys/a", json!({}), "missing field `hash`"),
    ] {
        let (status, error) = eavs.admin("PUT", path, body).await;
        assert_eq!(status, 400);
        let said = error["error"].as_str().unwrap();
        assert!(said.contains(want), "{said}");
        assert_eq!(error["code"], "invalid_request");
    }
    assert_eq!(eavs.admin("GET", "/admin/nothing", Value::Null).await.0, 404);
    // The LLM socket has no admin interface, whatever key is shown.
    let key = eavs.key("k", json!({})).await;
    let answer = eavs.get(&key, "/admin/keys").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 404);
}

#[tokio::test]
async fn models_providers_budgets_and_rates_hold() {
    let mut provider = Provider::start().await;
    let eavs = Instance::start(&config(&provider.url)).await;
    let bound = eavs.key("bound", json!({"allowed_models": ["m", "n-*"], "blocked_models": ["n-2"], "allowed_providers": ["ant"]})).await;
    let code = async |path: &str, body: &'static str| {
        let answer = eavs.post(&bound, path, body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap()["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let forbidden = |word: &str| (403, word.to_owned());
    assert_eq!(code("/chat/v1/chat/completions", "{\"model\":\"m\"}").await, forbidden("provider_not_allowed"));
    assert_eq!(code("/ant/v1/messages", "{\"model\":\"x\"}").await, forbidden("model_not_allowed"));
    assert_eq!(code("/ant/v1/messages", "{\"model\":\"n-2\"}").await, forbidden("model_not_allowed"));
    assert_eq!(code("/ant/v1/messages", "{\"model\":\"m\",\"mod\\u0065l\":\"x\"}").await, forbidden("model_not_allowed"));
    assert_eq!(code("/ant/v1/messages", "[]").await, forbidden("model_not_allowed"));
    assert!(provider.untouched());
    let answer = tokio::spawn(eavs.post(&bound, "/ant/v1/messages", "{\"model\":\"n-1\"}").send());
    provider.next().await.answer("200 OK", "application/json", "{}").await;
    assert_eq!(answer.await.unwrap().unwrap().status().as_u16(), 200);

    // One request of 1 M input tokens costs 3 dollars.
    let poor = eavs.key("poor", json!({"max_budget_usd": 2.0})).await;
    let answer = tokio::spawn(eavs.post(&poor, "/ant/v1/messages", "{\"model\":\"m\"}").send());
    let usage = "{\"usage\":{\"input_tokens\":1000000,\"output_tokens\":0}}";
    provider.next().await.answer("200 OK", "application/json", usage).await;
    answer.await.unwrap().unwrap().text().await.unwrap();
    eavs.settled("poor", |u| u["total_spend_usd"] == 3.0).await;
    let refused = eavs.post(&poor, "/ant/v1/messages", "{\"model\":\"m\"}").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 429);
    let error: Value = refused.json().await.unwrap();
    assert_eq!((&error["error"]["type"], &error["error"]["code"]), (&json!("rate_limit_error"), &json!("budget_exceeded")));
    assert!(provider.untouched());

    let slow = eavs.key("slow", json!({"rpm_limit": 1})).await;
    assert_eq!(eavs.post(&slow, "/demo/v1/messages", HELLO).send().await.unwrap().status().as_u16(), 200);
    let refused = eavs.post(&slow, "/demo/v1/chat/completions", HELLO).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 429);
    assert!(refused.headers().contains_key("retry-after"));

    let (_, late) = eavs.admin("POST", "/admin/keys", json!({"name": "late", "expires_at": "2020-01-01T00:00:00Z"})).await;
    let refused = eavs.post(late["key"].as_str().unwrap(), "/demo/v1/messages", HELLO).send().await.unwrap();
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "key_expired");
}

#[tokio::test]
async fn a_budget_and_a_model_without_a_price_are_counted_or_refused_as_configured() {
    let mut provider = Provider::start().await;
    let unpriced = format!("[providers.p]\napi='openai-completions'\nbase_url='{}'\nmodels=[{{id='m'}}]\n", provider.url);
    let eavs = Instance::start(&unpriced).await;
    let key = eavs.key("b", json!({"max_budget_usd": 1.0})).await;
    let path = "/p/v1/chat/completions";
    let answer = tokio::spawn(eavs.post(&key, path, "{\"model\":\"m\"}").send());
    let counted = "{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}";
    provider.next().await.answer("200 OK", "application/json", counted).await;
    answer.await.unwrap().unwrap().text().await.unwrap();
    let usage = eavs.settled("b", |u| u["unpriced_requests"] == 1).await;
    assert_eq!((&usage["total_output_tokens"], &usage["total_spend_usd"]), (&json!(4), &json!(0.0)));

    std::fs::write(eavs.path("config.toml"), format!("[eavs]\nunpriced = \"block\"\n{unpriced}")).unwrap();
    assert_eq!(eavs.admin("POST", "/admin/reload", Value::Null).await.0, 200);
    let refused = eavs.post(&key, path, "{\"model\":\"m\"}").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 403);
    let error: Value = refused.json().await.unwrap();
    assert!(error["error"]["message"].as_str().unwrap().contains("add cost to [providers.p]"));
    assert!(provider.untouched());
}
