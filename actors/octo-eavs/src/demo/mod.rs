//! The demonstration model: provider `demo`, model `scripted`, and `scripted-small`, which does the same, so that going from one model to another
//! can be seen. Not an LLM and never pretending to be one; it plays scripts ([`script`]) in all three dialects, streamed or not, so that octo can be seen and tested without any key.
//!
//! It keeps no conversation: the turn of a script is the number of assistant messages since it, so that retries and resumed
//! sessions go on where they were. Only how often a `status` failed is remembered, in memory, bounded.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::config::{Cost, DEMO, Model};
use crate::dialect::{Api, Refusal};
use crate::usage::Tokens;
use conversation::{Conversation, Scripted};
use play::{Call, Frame, Play};
use script::{Failure, Turn};

mod anthropic;
mod chat;
mod conversation;
mod filler;
mod play;
mod responses;
pub mod script;
mod tools;

pub use filler::filler;

/// Ids and names of the models; the first is meant where a request names none.
const MODELS: [(&str, &str); 2] = [("scripted", "Demo (scripted, no LLM)"), ("scripted-small", "Demo, small (scripted, no LLM)")];
/// How many failing turns are remembered.
const MAX_FAILURES: usize = 4096;
/// Pieces of an answer that no script governs.
const PLAIN_CHUNKS: u64 = 12;

const PLAIN: &str = "This is octo's built-in demonstration model. There is no LLM behind it, so it cannot answer questions: it plays scripts.\n\n\
To see octo work, send a script, one JSON object per model turn:\n\n\
```\n@demo [{\"thinking\": \"Let me look.\", \"text\": \"I list the files.\", \"chunks\": 5, \"delay_ms\": 100, \"tools\": [{\"name\": \"bash\", \"input\": {\"command\": \"ls -la\"}}]}, {\"text\": \"Done.\"}]\n```\n\n\
To work with a real model, add a provider to octo's configuration and choose its model for the session.";

/// The models' entries in lists. Their price is nothing, truly.
pub fn models() -> Vec<Model> {
    let entry = |(id, name): (&str, &str)| Model {
        id: id.to_owned(),
        name: Some(name.to_owned()),
        reasoning: true,
        input: vec!["text".to_owned(), "image".to_owned()],
        context_window: Some(200_000),
        max_tokens: Some(8192),
        cost: Some(Cost::default()),
    };
    MODELS.map(entry).into()
}

/// What the model remembers: how often a failing turn has failed.
#[derive(Debug, Default)]
pub struct Demo {
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    counts: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

impl Demo {
    /// Whether this turn fails once more for this key.
    fn fails(&self, key: &str, scripted: &Scripted, failure: Failure) -> bool {
        let mut hasher = DefaultHasher::new();
        (key, &scripted.text, scripted.position, scripted.turn).hash(&mut hasher);
        let id = hasher.finish();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.counts.contains_key(&id) {
            if failures.order.len() >= MAX_FAILURES
                && let Some(oldest) = failures.order.pop_front()
            {
                failures.counts.remove(&oldest);
            }
            failures.order.push_back(id);
        }
        let count = failures.counts.entry(id).or_default();
        *count += 1;
        *count <= failure.times
    }
}

/// Answers a request to the demo provider.
pub fn answer(demo: &Demo, key: &str, method: &Method, path: &str, body: &[u8]) -> Response {
    let path = path.trim_end_matches('/');
    match (method.as_str(), path, Api::of_path(path)) {
        ("POST", _, Some(api)) => generate(demo, key, api, body).unwrap_or_else(|refusal| refusal.response(api)),
        ("POST", "v1/messages/count_tokens", _) => json_response(&json!({"input_tokens": body.len() / 4})),
        ("GET", "v1/models", _) => {
            let ends = [MODELS.first(), MODELS.last()].map(|model| model.map(|(id, _)| *id));
            let data = MODELS.map(entry);
            json_response(&json!({"object": "list", "data": data, "has_more": false, "first_id": ends[0], "last_id": ends[1]}))
        }
        ("GET", _, _) if named(path).is_some() => json_response(&named(path).map(entry).unwrap_or_default()),
        _ => {
            let text = "the demonstration model serves /demo/v1/messages, /demo/v1/messages/count_tokens, /demo/v1/chat/completions, /demo/v1/responses and /demo/v1/models";
            Refusal::new(StatusCode::NOT_FOUND, "unknown_path", text).response(Api::guess(path))
        }
    }
}

/// The model whose own path this is.
fn named(path: &str) -> Option<(&'static str, &'static str)> {
    let wanted = path.strip_prefix("v1/models/")?;
    MODELS.into_iter().find(|(id, _)| *id == wanted)
}

fn entry((id, name): (&str, &str)) -> Value {
    json!({
        "id": id, "object": "model", "type": "model", "created": 0, "created_at": "2026-01-01T00:00:00Z", "owned_by": "octo", "display_name": name,
    })
}

fn json_response(value: &Value) -> Response {
    typed("application/json", Body::from(value.to_string()))
}

fn typed(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn plain(text: impl Into<String>) -> Turn {
    Turn { text: text.into(), chunks: Some(PLAIN_CHUNKS), ..Turn::default() }
}

/// The turn that is due.
fn due(script: Option<&Scripted>) -> Turn {
    let Some(scripted) = script else {
        return plain(PLAIN);
    };
    let turns = match script::parse(&scripted.text) {
        Ok(turns) => turns,
        Err(_) if scripted.followed && scripted.turn > 0 => return plain(PLAIN),
        Err(problem) => {
            return plain(format!(
                "The demonstration script cannot be played: {problem}.\n\nA script that works:\n\n```\n@demo [{{\"text\": \"hello\"}}]\n```"
            ));
        }
    };
    let count = turns.len();
    match turns.into_iter().nth(scripted.turn) {
        Some(turn) => turn,
        None if scripted.followed => plain(PLAIN),
        None => plain(format!("The demonstration script is finished: {count} of {count} turns were played.")),
    }
}

fn generate(demo: &Demo, key: &str, api: Api, body: &[u8]) -> Result<Response, Refusal> {
    let request = Conversation::parse(api, body).map_err(|problem| Refusal::new(StatusCode::BAD_REQUEST, "invalid_request", problem))?;
    let mut turn = due(request.script.as_ref());
    if let (Some(failure), Some(scripted)) = (turn.failure, &request.script)
        && demo.fails(key, scripted, failure)
    {
        let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = format!("the demonstration script asked for this failure ({})", failure.status);
        let refusal = Refusal::new(status, "demo_failure", text);
        return Err(match failure.retry_after {
            Some(seconds) => refusal.after(seconds),
            None => refusal,
        });
    }
    let calls: Vec<Call> = turn
        .tools
        .iter()
        .map(|call| {
            let (name, input) = tools::resolve(call, &request.offered);
            let id = uuid::Uuid::new_v4().simple().to_string();
            Call { id, name, input: Value::Object(input) }
        })
        .collect();
    let mut sniffed = crate::sniff::Sniffer::default();
    sniffed.feed(body);
    let model = sniffed.found().model().unwrap_or(MODELS[0].0).to_owned();
    turn.text = turn.text.replace("{{model}}", &model).replace("{{images}}", &request.images.to_string());
    let text_len = turn.text.len() as u64 + turn.bytes;
    let thought = turn.thinking.as_ref().map_or(0, String::len) as u64;
    let frame = Frame {
        id: uuid::Uuid::new_v4().simple().to_string(),
        created: OffsetDateTime::now_utc().unix_timestamp(),
        model,
        usage: turn.usage.unwrap_or(Tokens {
            input: request.input_tokens,
            output: (text_len + thought) / 4 + 20 * calls.len() as u64,
            ..Tokens::default()
        }),
        include_usage: request.include_usage,
        thinking: turn.thinking.clone().filter(|t| !t.is_empty()),
        has_text: text_len > 0,
        text_len,
        tools: calls.clone(),
    };
    tracing::debug!(provider = DEMO, ?api, turn = request.script.as_ref().map(|s| s.turn), "demo turn");
    Ok(match api {
        Api::AnthropicMessages => played(Play::new(anthropic::Anthropic::new(frame), &turn, calls), request.stream),
        Api::OpenaiCompletions => played(Play::new(chat::Chat::new(frame), &turn, calls), request.stream),
        Api::OpenaiResponses => played(Play::new(responses::Responses::new(frame), &turn, calls), request.stream),
    })
}

fn played<E: play::Encoder>(play: Play<E>, stream: bool) -> Response {
    if stream {
        let mut response = typed("text/event-stream", Body::from_stream(play.events()));
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    } else {
        typed("application/json", Body::from_stream(play.document()))
    }
}
