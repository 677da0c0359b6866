//! The demonstration model, in three dialects, streamed and not.

use serde_json::{Value, json};

use crate::instance::Instance;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    Anthropic,
    Chat,
    Responses,
}

const ALL: [Api; 3] = [Api::Anthropic, Api::Chat, Api::Responses];

/// What came back, whatever the dialect.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    text: String,
    pieces: usize,
    thinking: String,
    tools: Vec<(String, Value)>,
    stop: String,
    input: u64,
    output: u64,
}

impl Api {
    fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "/demo/v1/messages",
            Self::Chat => "/demo/v1/chat/completions",
            Self::Responses => "/demo/v1/responses",
        }
    }

    /// A request with user and assistant texts by turns, the first from the user.
    fn request(self, texts: &[&str], stream: bool) -> Value {
        let message = |(n, text): (usize, &&str)| json!({"role": if n % 2 == 0 { "user" } else { "assistant" }, "content": text});
        let messages: Vec<Value> = match self {
            Self::Responses => texts
                .iter()
                .enumerate()
                .map(|(n, text)| {
                    let (role, kind) = if n % 2 == 0 { ("user", "input_text") } else { ("assistant", "output_text") };
                    json!({"role": role, "content": [{"type": kind, "text": text}]})
                })
                .collect(),
            _ => texts.iter().enumerate().map(message).collect(),
        };
        let schema = json!({"type": "object", "properties": {"command": {"type": "string"}}});
        let edit = json!({"type": "object", "properties": {"file_path": {}, "old_string": {}, "new_string": {}}});
        let tool = |name: &str, schema: &Value| match self {
            Self::Anthropic => json!({"name": name, "input_schema": schema}),
            Self::Chat => json!({"type": "function", "function": {"name": name, "parameters": schema}}),
            Self::Responses => json!({"type": "function", "name": name, "parameters": schema}),
        };
        let list = if self == Self::Responses { "input" } else { "messages" };
        json!({
            "model": "scripted", "stream": stream, "stream_options": {"include_usage": true},
            list: messages, "tools": [tool("Bash", &schema), tool("Edit", &edit)],
        })
    }

    fn streamed(self, body: &str) -> Answer {
        let mut answer = Answer::default();
        for data in body.lines().filter_map(|l| l.strip_prefix("data: ")).filter(|d| *d != "[DONE]") {
            let event: Value = serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {data}"));
            self.event(&event, &mut answer);
        }
        answer
    }

    fn event(self, event: &Value, answer: &mut Answer) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let mut said = None;
        match self {
            Self::Anthropic => {
                said = text("/delta/text");
                answer.thinking += text("/delta/thinking").unwrap_or_default();
                if let Some(name) = text("/content_block/name") {
                    answer.tools.push((name.to_owned(), Value::Null));
                }
                if let Some(input) = text("/delta/partial_json") {
                    answer.tools.last_mut().unwrap().1 = serde_json::from_str(input).unwrap();
                }
                answer.stop += text("/delta/stop_reason").unwrap_or_default();
                answer.input = event.pointer("/message/usage/input_tokens").and_then(Value::as_u64).unwrap_or(answer.input);
                answer.output = event.pointer("/usage/output_tokens").and_then(Value::as_u64).unwrap_or(answer.output);
            }
            Self::Chat => {
                said = text("/choices/0/delta/content").filter(|t| !t.is_empty());
                answer.thinking += text("/choices/0/delta/reasoning_content").unwrap_or_default();
                if let Some(name) = text("/choices/0/delta/tool_calls/0/function/name") {
                    let input = text("/choices/0/delta/tool_calls/0/function/arguments").unwrap();
                    answer.tools.push((name.to_owned(), serde_json::from_str(input).unwrap()));
                }
                answer.stop += text("/choices/0/finish_reason").unwrap_or_default();
                answer.input = event.pointer("/usage/prompt_tokens").and_then(Value::as_u64).unwrap_or(answer.input);
                answer.output = event.pointer("/usage/completion_tokens").and_then(Value::as_u64).unwrap_or(answer.output);
            }
            Self::Responses => match event["type"].as_str().unwrap() {
                "response.output_text.delta" => said = text("/delta"),
                "response.reasoning_summary_text.delta" => answer.thinking += text("/delta").unwrap(),
                "response.output_text.done" => assert_eq!(text("/text").unwrap(), answer.text, "the whole text at the end"),
                "response.output_item.done" => {
                    if event["item"]["type"] == "message" {
                        assert_eq!(text("/item/content/0/text").unwrap(), answer.text);
                    }
                    if let Some(name) = text("/item/name") {
                        let input = serde_json::from_str(text("/item/arguments").unwrap()).unwrap();
                        answer.tools.push((name.to_owned(), input));
                    }
                }
                "response.completed" => {
                    answer.stop = if answer.tools.is_empty() { "end" } else { "tools" }.to_owned();
                    answer.input = event.pointer("/response/usage/input_tokens").and_then(Value::as_u64).unwrap();
                    answer.output = event.pointer("/response/usage/output_tokens").and_then(Value::as_u64).unwrap();
                }
                _ => {}
            },
        }
        if let Some(said) = said {
            answer.text += said;
            answer.pieces += 1;
        }
    }

    fn whole(self, body: &str) -> Answer {
        let value: Value = serde_json::from_str(body).unwrap();
        let mut answer = Answer { pieces: 1, ..Answer::default() };
        let (list, input, output) = match self {
            Self::Anthropic => ("/content", "/usage/input_tokens", "/usage/output_tokens"),
            Self::Chat => ("/choices/0/message/tool_calls", "/usage/prompt_tokens", "/usage/completion_tokens"),
            Self::Responses => ("/output", "/usage/input_tokens", "/usage/output_tokens"),
        };
        let string = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        answer.text = string(&value, "/choices/0/message/content");
        answer.thinking = string(&value, "/choices/0/message/reasoning_content");
        for item in value.pointer(list).and_then(Value::as_array).into_iter().flatten() {
            answer.text += &string(item, "/text");
            answer.text += &string(item, "/content/0/text");
            answer.thinking += &string(item, "/thinking");
            answer.thinking += &string(item, "/summary/0/text");
            let arguments = string(item, "/arguments") + &string(item, "/function/arguments");
            let name = string(item, "/name") + &string(item, "/function/name");
            if !name.is_empty() {
                let input = if arguments.is_empty() { item["input"].clone() } else { serde_json::from_str(&arguments).unwrap() };
                answer.tools.push((name, input));
            }
        }
        answer.stop = string(&value, "/stop_reason") + &string(&value, "/choices/0/finish_reason");
        answer.input = value.pointer(input).and_then(Value::as_u64).unwrap();
        answer.output = value.pointer(output).and_then(Value::as_u64).unwrap();
        answer
    }
}

async fn ask(eavs: &Instance, key: &str, api: Api, texts: &[&str], stream: bool) -> Answer {
    let response = eavs.post(key, api.path(), api.request(texts, stream).to_string()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let body = response.text().await.unwrap();
    if stream {
        assert_eq!(kind, "text/event-stream");
        api.streamed(&body)
    } else {
        assert_eq!(kind, "application/json");
        api.whole(&body)
    }
}

#[tokio::test]
async fn it_says_which_model_was_asked_and_how_many_pictures_it_got() {
    let eavs = Instance::start("").await;
    let key = eavs.key("d", json!({})).await;
    let text = "@demo [{\"text\": \"{{model}} sees {{images}}\"}]";
    for api in ALL {
        let (kind, picture) = match api {
            Api::Anthropic => ("text", json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}})),
            Api::Chat => ("text", json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}})),
            Api::Responses => ("input_text", json!({"type": "input_image", "image_url": "data:image/png;base64,"})),
        };
        let mut body = api.request(&[], false);
        body["model"] = json!("scripted-small");
        let list = if body["input"].is_array() { "input" } else { "messages" };
        body[list] = json!([{"role": "user", "content": [{"type": kind, "text": text}, picture]}]);
        let answer = eavs.post(&key, api.path(), body.to_string()).send().await.unwrap().text().await.unwrap();
        assert_eq!(api.whole(&answer).text, "scripted-small sees 1");
    }
}

#[tokio::test]
async fn a_plain_question_gets_an_honest_answer() {
    let eavs = Instance::start("").await;
    let key = eavs.key("d", json!({})).await;
    for api in ALL {
        for stream in [true, false] {
            let answer = ask(&eavs, &key, api, &["What is the meaning of life?"], stream).await;
            assert!(answer.text.contains("no LLM behind it") && answer.text.contains("@demo ["), "{answer:?}");
            assert!(answer.tools.is_empty());
        }
    }
    let models: Value = eavs.get(&key, "/demo/v1/models").send().await.unwrap().json().await.unwrap();
    let ids: Vec<&str> = models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["scripted", "scripted-small"]);
    let other = eavs.key("e", json!({})).await;
    let one: Value = eavs.get(&other, "/demo/v1/models/scripted-small").send().await.unwrap().json().await.unwrap();
    assert_eq!(one["id"], "scripted-small");
    assert_eq!(eavs.get(&other, "/demo/v1/models/other").send().await.unwrap().status(), 404);
    let count = eavs.post(&key, "/demo/v1/messages/count_tokens?beta=true", "{\"messages\":[]}").send().await.unwrap();
    assert!(count.json::<Value>().await.unwrap()["input_tokens"].is_u64());
    let usage = eavs.settled("d", |u| u["total_requests"] == 8).await;
    assert_eq!((&usage["failed_requests"], &usage["total_spend_usd"]), (&json!(0), &json!(0.0)));
}

#[tokio::test]
async fn a_turn_says_thinks_and_calls_tools_as_the_request_offers_them() {
    let eavs = Instance::start("").await;
    let key = eavs.key("d", json!({})).await;
    let script = r#"Go: @demo [{"thinking":"hm \"quoted\"","text":"größer\nals \"x\" 漢字","chunks":4,"usage":{"input":12,"output":34},
        "tools":[{"name":"bash","input":{"command":"ls"}},{"name":"edit","input":{"path":"f","old":"a","new":"b"}},{"name":"odd","input":{"k":[1]}}]}] and that is all"#;
    for api in ALL {
        for stream in [true, false] {
            let answer = ask(&eavs, &key, api, &[script], stream).await;
            assert_eq!(answer.text, "größer\nals \"x\" 漢字", "{api:?}");
            assert_eq!(answer.pieces, if stream { 4 } else { 1 });
            assert_eq!(answer.thinking, "hm \"quoted\"");
            let tools = [
                ("Bash".to_owned(), json!({"command": "ls"})),
                ("Edit".to_owned(), json!({"file_path": "f", "old_string": "a", "new_string": "b"})),
                ("odd".to_owned(), json!({"k": [1]})),
            ];
            assert_eq!(answer.tools, tools);
            assert_eq!((answer.input, answer.output), (12, 34));
            let stop = match api {
                Api::Anthropic => "tool_use",
                Api::Chat => "tool_calls",
                Api::Responses if stream => "tools",
                Api::Responses => "",
            };
            assert_eq!(answer.stop, stop);
        }
    }
}

#[tokio::test]
async fn the_turn_is_counted_from_the_conversation_so_retry_and_resume_go_on() {
    let mut eavs = Instance::start("").await;
    let key = eavs.key("d", json!({})).await;
    let script = r#"@demo [{"text":"one"},{"text":"two"},{"text":"three"}]"#;
    for api in ALL {
        assert_eq!(ask(&eavs, &key, api, &[script], true).await.text, "one");
        assert_eq!(ask(&eavs, &key, api, &[script], true).await.text, "one", "a retry is the same turn");
        let resumed = ["earlier", "answer", script, "one", "continue", "two", ""];
        assert_eq!(ask(&eavs, &key, api, &resumed[..5], true).await.text, "two");
        assert_eq!(ask(&eavs, &key, api, &resumed, true).await.text, "three");
        let over = [script, "one", "", "two", "", "three", ""];
        assert!(ask(&eavs, &key, api, &over, true).await.text.contains("3 of 3 turns were played"));
        let after = [script, "one", "", "two", "", "three", "and now?"];
        assert!(ask(&eavs, &key, api, &after, false).await.text.contains("no LLM behind it"));
        let newer = [script, "one", "@demo [\"new\"]"];
        assert_eq!(ask(&eavs, &key, api, &newer, true).await.text, "new");
        let wrong = ask(&eavs, &key, api, &["@demo [{\"txet\":1}]"], true).await;
        assert!(wrong.text.contains("turn 1: there is no key \"txet\""), "{}", wrong.text);
    }
    eavs.signal(nix::sys::signal::Signal::SIGKILL);
    eavs.wait().await;
    eavs.spawn().await;
    assert_eq!(ask(&eavs, &key, Api::Chat, &[script, "one", ""], true).await.text, "two", "nothing is remembered but by the conversation");
}

#[tokio::test]
async fn a_failure_comes_as_often_as_asked_per_key_and_script() {
    let eavs = Instance::start("").await;
    let (a, b) = (eavs.key("a", json!({})).await, eavs.key("b", json!({})).await);
    for api in ALL {
        let script = format!("@demo [{{\"status\":529,\"times\":2,\"retry_after\":3,\"text\":\"at last\"}}] {api:?}");
        let body = api.request(&[&script], true).to_string();
        for key in [&a, &b] {
            for _ in 0..2 {
                let failed = eavs.post(key, api.path(), body.clone()).send().await.unwrap();
                assert_eq!(failed.status().as_u16(), 529);
                assert_eq!(failed.headers()["retry-after"], "3");
                let error: Value = failed.json().await.unwrap();
                assert_eq!(error["error"]["type"], "overloaded_error");
                assert_eq!(error["type"], if api == Api::Anthropic { json!("error") } else { Value::Null });
            }
            assert_eq!(ask(&eavs, key, api, &[&script], true).await.text, "at last");
        }
    }
}

#[tokio::test]
async fn a_cut_and_a_broken_stream_come_where_the_script_says() {
    let eavs = Instance::start("").await;
    let key = eavs.key("d", json!({})).await;
    for api in ALL {
        let cut = r#"@demo [{"text":"abcdefgh","chunks":4,"cut_after":2}]"#;
        for stream in [true, false] {
            let mut response = eavs.post(&key, api.path(), api.request(&[cut], stream).to_string()).send().await.unwrap();
            let mut body = Vec::new();
            let end = loop {
                match response.chunk().await {
                    Ok(Some(piece)) => body.extend_from_slice(&piece),
                    other => break other,
                }
            };
            assert!(end.is_err(), "{api:?}: a cut is no end");
            let body = String::from_utf8(body).unwrap();
            if stream {
                let answer = api.streamed(&body);
                assert_eq!((answer.text.as_str(), answer.stop.as_str()), ("abcd", ""), "{api:?}");
            } else {
                assert!(body.contains("abcd") && !body.contains("abcde"), "{api:?}: {body}");
            }
        }
        let broken = r#"@demo [{"text":"abcd","chunks":2,"malformed":true}]"#;
        let response = eavs.post(&key, api.path(), api.request(&[broken], true).to_string()).send().await.unwrap();
        let body = response.text().await.unwrap();
        let datas: Vec<_> = body.lines().filter_map(|l| l.strip_prefix("data: ")).map(serde_json::from_str::<Value>).collect();
        assert!(datas.last().unwrap().is_err(), "{api:?}: the last piece is broken");
        assert!(datas[..datas.len() - 1].iter().all(Result::is_ok));
        let response = eavs.post(&key, api.path(), api.request(&[broken], false).to_string()).send().await.unwrap();
        assert!(serde_json::from_str::<Value>(&response.text().await.unwrap()).is_err());
    }
}

#[tokio::test]
async fn filler_comes_in_its_size_in_every_dialect() {
    let eavs = Instance::start("").await;
    let key = eavs.key("d", json!({})).await;
    let script = r#"@demo [{"text":"head\n","bytes":300000}]"#;
    for api in ALL {
        for stream in [true, false] {
            let answer = ask(&eavs, &key, api, &[script], stream).await;
            assert_eq!(answer.text.len(), 300_005, "{api:?}");
            assert!(answer.text.ends_with(&octo_eavs::demo::filler(300_000 - 500, 500)));
            assert_eq!(answer.pieces > 10, stream);
        }
    }
}

#[tokio::test]
async fn pieces_are_sent_one_by_one_and_end_when_the_client_leaves() {
    let eavs = Instance::start("").await;
    let key = eavs.key("d", json!({})).await;
    let script = r#"@demo [{"text":"ab","chunks":2,"delay_ms":60000}]"#;
    for api in ALL {
        let mut response = eavs.post(&key, api.path(), api.request(&[script], true).to_string()).send().await.unwrap();
        let mut seen = String::new();
        // The first piece is here while the second is a minute away.
        while api.streamed(&seen).text != "a" {
            seen += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
        }
    }
    eavs.settled("d", |u| u["failed_requests"] == 3).await;
}
