//! Writes inputs to begin with into `fuzz/corpus`: recordings of real agents and clients, a frame of each kind, and queries.
//!
//! Needed only for a target that has no corpus; what is kept in the repository came from these and from fuzzing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::BytesMut;
use octo_fuzz::{corpus, words};
use octo_protocol::event::EventKind;
use octo_protocol::link::*;
use octo_protocol::{Epoch, ErrorCode, SessionId};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Longest line of a recording that is taken, and longest script.
const LINE: usize = 700;
const SCRIPT: usize = 4000;

fn put(target: &str, name: &str, bytes: &[u8]) {
    let directory = corpus::directory(target);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(format!("seed-{name}")), bytes).unwrap();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What was written to pi, as what the runner does.
fn asked(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = || value["message"].as_str().unwrap_or_default().chars().filter(|c| *c != '\n').take(200).collect::<String>();
    Some(match value["type"].as_str()? {
        "prompt" => format!("!p {}", text()),
        "steer" => format!("!s {}", text()),
        "follow_up" => format!("!f {}", text()),
        "abort" => "!c {\"cmd\":\"abort\"}".to_owned(),
        "compact" => "!c {\"cmd\":\"compact\"}".to_owned(),
        "cycle_model" => "!c {\"cmd\":\"cycle_model\"}".to_owned(),
        "set_thinking_level" => "!c {\"cmd\":\"set_thinking_level\",\"level\":\"high\"}".to_owned(),
        "extension_ui_response" => {
            format!("!c {{\"cmd\":\"input_response\",\"request_id\":{},\"confirmed\":true,\"value\":\"Allow\"}}", value["id"])
        }
        _ => "!q".to_owned(),
    })
}

/// What pi wrote; an answer is one to whatever octo has asked.
fn wrote(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value["type"] == "response" {
        let (sign, data) = if value["success"] == true { ('+', &value["data"]) } else { ('-', &value["error"]) };
        return Some(format!("!{sign}0 {data}"));
    }
    Some(line.to_owned())
}

/// The same of Claude Code.
fn asked_claude(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = || value["message"]["content"].as_str().unwrap_or_default().chars().filter(|c| *c != '\n').take(200).collect::<String>();
    Some(match value["type"].as_str()? {
        "user" => format!("!p {}", text()),
        "control_response" => {
            let id = &value["response"]["request_id"];
            format!("!c {{\"cmd\":\"input_response\",\"request_id\":{id},\"confirmed\":true,\"value\":\"a\"}}")
        }
        "control_request" => match value["request"]["subtype"].as_str()? {
            "initialize" => return None,
            "interrupt" => "!c {\"cmd\":\"abort\"}".to_owned(),
            "set_model" => "!c {\"cmd\":\"set_model\",\"provider\":\"\",\"model_id\":\"m\"}".to_owned(),
            _ => "!q".to_owned(),
        },
        _ => return None,
    })
}

fn wrote_claude(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value["type"] == "control_response" {
        let answer = &value["response"];
        return Some(if answer["subtype"] == "success" { "!+0 {}".to_owned() } else { format!("!-0 {}", answer["error"]) });
    }
    Some(line.to_owned())
}

fn recordings_of_claude() {
    let directory = root().join("runner/octo-harness/tests/claude/recordings");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let mut script = String::new();
        let mut uuids: Vec<String> = Vec::new();
        for record in std::fs::read_to_string(&path).unwrap().lines().skip(1) {
            let record: Value = serde_json::from_str(record).unwrap();
            let Some(line) = record["line"].as_str() else { continue };
            if let Some(uuid) = serde_json::from_str::<Value>(line)
                .ok()
                .filter(|_| record["dir"] == "in")
                .and_then(|v| v["uuid"].as_str().map(str::to_owned))
            {
                uuids.push(uuid);
            }
            let line = match record["dir"].as_str() {
                Some("in") => asked_claude(line),
                Some("out") => wrote_claude(line),
                _ => None,
            };
            let Some(mut line) = line else { continue };
            // Those that the harness chooses: they count up.
            for (n, uuid) in (1..).zip(&uuids) {
                line = line.replace(uuid.as_str(), &format!("00000000-0001-8000-8000-{n:012x}"));
            }
            if line.len() <= LINE && script.len() + line.len() < SCRIPT {
                script.push_str(&line);
                script.push('\n');
            }
        }
        put("claude", path.file_stem().unwrap().to_str().unwrap(), script.as_bytes());
    }
    for (number, lines) in words::CLAUDE.lines.chunks(12).enumerate() {
        put("claude", &format!("words-{number}"), format!("!k 5\n!+0 {{}}\n!p p\n{}\n", lines.join("\n")).as_bytes());
    }
}

fn recordings() {
    let directory = root().join("runner/octo-harness/tests/recordings");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let mut script = String::new();
        for record in std::fs::read_to_string(&path).unwrap().lines().skip(1) {
            let record: Value = serde_json::from_str(record).unwrap();
            let Some(line) = record["line"].as_str() else { continue };
            let line = match record["dir"].as_str() {
                Some("in") => asked(line),
                Some("out") => wrote(line),
                _ => None,
            };
            match line {
                Some(line) if line.len() <= LINE && script.len() + line.len() < SCRIPT => {
                    script.push_str(&line);
                    script.push('\n');
                }
                _ => {}
            }
        }
        put("pi", path.file_stem().unwrap().to_str().unwrap(), script.as_bytes());
    }
    put("pi", "words", words::PI.lines.join("\n").as_bytes());
    for (number, lines) in words::PI.lines.chunks(12).enumerate() {
        put("pi", &format!("words-{number}"), format!("!k 5\n{}\n", lines.join("\n")).as_bytes());
    }
}

fn mux() {
    let commands = [
        r#"{"cmd":"session.create","config":{"harness":"pi","cwd":"/srv","provider":"p","model":"m"},"cursor":{"epoch":"e1","seq":3}}"#,
        r#"{"cmd":"session.attach","cursor":{"epoch":"e1","seq":0}}"#,
        r#"{"cmd":"session.new","parent_session":"s0"}"#,
        r#"{"cmd":"session.switch","session_path":"/f"}"#,
        r#"{"cmd":"prompt","message":"hi","images":[{"data":"AA==","media_type":"image/png"}],"client_id":"c1"}"#,
        r#"{"cmd":"steer","message":"no","client_id":"c2"}"#,
        r#"{"cmd":"follow_up","message":"then"}"#,
        r#"{"cmd":"input_response","request_id":"q","value":"v","confirmed":true,"cancelled":false,"option_id":"o"}"#,
        r#"{"cmd":"get_messages","before_idx":5,"limit":10}"#,
        r#"{"cmd":"get_models","workdir":"/srv"}"#,
        r#"{"cmd":"fork","entry_id":"e"}"#,
        r#"{"cmd":"set_model","provider":"p","model_id":"m"}"#,
        r#"{"cmd":"set_thinking_level","level":"xhigh"}"#,
        r#"{"cmd":"set_auto_compaction","enabled":true}"#,
        r#"{"cmd":"set_auto_retry","enabled":false}"#,
        r#"{"cmd":"compact","instructions":"be brief"}"#,
        r#"{"cmd":"set_session_name","name":"n"}"#,
        r#"{"cmd":"delegate","target_session_id":"t","message":"m","mode":"async","timeout_ms":5,"max_tokens":7,"context":"c","client_id":"d"}"#,
        r#"{"cmd":"delegate.cancel","request_id":"r"}"#,
    ];
    let mut frames: Vec<String> = commands
        .iter()
        .map(|command| format!(r#"{{"channel":"agent","id":"1","session_id":"s1","runner_id":"local",{}"#, &command[1..]))
        .collect();
    frames.extend(
        octo_protocol::Command::NAMES.iter().map(|name| format!(r#"{{"channel":"agent","id":"2","session_id":"s1","cmd":"{name}"}}"#)),
    );
    let others = [
        r#"{"channel":"system","type":"ping","id":"1"}"#,
        r#"{"channel":"system","type":"watch_actors","path":"/users"}"#,
        r#"{"channel":"system","type":"unwatch_actors","id":"u"}"#,
        r#"{"channel":"files","id":"1","workspace_path":"/w","type":"tree","path":".","depth":3,"include_hidden":true}"#,
        r#"{"channel":"files","id":"1","workspace_path":"/w","type":"write","path":"a","content":"AA==","create_parents":true}"#,
        r#"{"channel":"files","id":"1","workspace_path":"/w","type":"read","path":"a"}"#,
        r#"{"channel":"files","id":"1","workspace_path":"/w","type":"move","from":"a","to":"b","overwrite":true}"#,
        r#"{"channel":"files","id":"1","workspace_path":"/w","type":"delete","path":"a","recursive":true}"#,
        r#"{"channel":"terminal","type":"open","id":"1","session_id":"s","cols":80,"rows":24}"#,
        r#"{"channel":"terminal","type":"input","terminal_id":"t","data":"ls\r"}"#,
        r#"{"channel":"terminal","type":"resize","terminal_id":"t","cols":1,"rows":65535}"#,
        r#"{"channel":"hstry","type":"query","id":"1","query":"fox","session_id":"s","limit":3}"#,
        r#"{"channel":"trx","id":"1","workspace_path":"/w","type":"create","data":{"title":"t","priority":0}}"#,
        r#"{"channel":"trx","id":"1","workspace_path":"/w","type":"update","issue_id":"i","data":{"status":"closed"}}"#,
        r#"{"channel":"session","type":"ping"}"#,
        r#"{"channel":"session","type":"a2ui_action","session_id":"s","surface_id":"x","action":{"a":[1,0.1,null]}}"#,
        r#"{"channel":"nowhere","id":"x"}"#,
        r#"{"channel":5,"id":"x"}"#,
        r#"{"channel":"agent","id":"x","cmd":"abort","session_id":5}"#,
        r#"{"channel":"agent","id":"x","cmd":"nothing"}"#,
        r#"{"id":"only"}"#,
        "[1]",
        "null",
    ];
    frames.extend(others.map(str::to_owned));
    for (number, frame) in frames.iter().enumerate() {
        put("mux", &number.to_string(), frame.as_bytes());
    }
}

fn link() {
    let principal = || Principal { user: "alice".into(), actor: "root".into() };
    let (session, epoch) = (|| SessionId::new("ses_1").unwrap(), || Epoch::new("e1").unwrap());
    let request = |body| Frame::Request(Request { id: 7, principal: principal(), deadline_ms: 30_000, body });
    let event = |seq, kind, payload: &str| Frame::Event(Event { sub: 3, seq, ts: 1_795_365_176_228, kind, payload: payload.into() });
    let hello = |user: &str| {
        let (software, instance) = ("octo 0.1.0".into(), "i1".into());
        Frame::Hello(Hello { magic: Hello::MAGIC, min_version: 1, max_version: 2, software, instance, user: user.into() })
    };
    let welcome = Welcome {
        version: 1,
        software: "octo-runner 0.1.0".into(),
        runner_id: "local".into(),
        user: "alice".into(),
        pid: 4711,
        boot_id: "b".into(),
        started_at: 1_795_365_176_228,
    };
    let sessions = br#"[{"session_id":"s","state":"idle","cwd":"/","provider":"p","model":"m","last_activity":1,"subscriber_count":0,"harness":"pi","epoch":"e1","seq":3}]"#;
    let frames = [
        hello("alice"),
        hello("bob"),
        Frame::Welcome(welcome),
        Frame::Refused(Refused { code: ErrorCode::Conflict, reason: "no".into() }),
        request(RequestBody::Command { json: br#"{"id":"1","session_id":"s","cmd":"abort"}"#.to_vec() }),
        request(RequestBody::Open { json: b"{}".to_vec(), provision: b"{\"a\":1}".to_vec() }),
        request(RequestBody::Snapshot { session: session() }),
        request(RequestBody::History { json: br#"{"query":"search","q":"fox","limit":3}"#.to_vec() }),
        request(RequestBody::Actors),
        request(RequestBody::OpenBeside { json: b"{}".to_vec(), session: session(), provision: b"{}".to_vec() }),
        request(RequestBody::Admin { json: br#"{"ask":"inspect","path":"/history"}"#.to_vec() }),
        Frame::Response(Response { id: 7, body: ResponseBody::Ok { json: b"null".to_vec() } }),
        Frame::Response(Response { id: 7, body: ResponseBody::Err { code: ErrorCode::Busy, message: "why".into() } }),
        Frame::Subscribe(Subscribe { sub: 3, session: session(), epoch: Some(epoch()), after: Some(41), until: None, credit: 9 }),
        Frame::Subscribed(Subscribed { sub: 3, epoch: epoch(), head: 50, after: 41 }),
        Frame::Credit(Credit { sub: 3, bytes: 65_536 }),
        event(3, EventKind::Normal, r#"{"event":"session.created","resumed":true,"harness":"pi"}"#),
        event(4, EventKind::Delta, r#"{"event":"stream.text_delta","message_id":"m","delta":"d","content_index":0}"#),
        event(5, EventKind::Durable, r#"{"event":"agent.idle"}"#),
        event(
            6,
            EventKind::Urgent,
            r#"{"event":"agent.input_needed","request":{"type":"confirm","request_id":"q","title":"t","message":"m"}}"#,
        ),
        event(0, EventKind::Ephemeral, r#"{"event":"tool.progress","tool_call_id":"t","name":"n","partial_output":{"content":[]}}"#),
        event(7, EventKind::Normal, r#"{"event":"x","seq":1}"#),
        event(8, EventKind::Normal, r#"{"event":"replay.end","seq":1}"#),
        Frame::Unsubscribe(Unsubscribe { sub: 3 }),
        Frame::Ended(Ended { sub: 3, reason: EndReason::EpochChanged }),
        Frame::Sessions(Sessions { json: sessions.to_vec() }),
        Frame::Ping(Ping { nonce: 300 }),
        Frame::Pong(Ping { nonce: 300 }),
        Frame::Upgrade(Upgrade { binary: "/usr/bin/octo-runner".into() }),
        Frame::OpenStream(OpenStream { id: 1, principal: principal(), json: b"{}".to_vec() }),
        Frame::StreamData(StreamData { data: vec![0xff, 0] }),
        Frame::StreamClose(StreamClose { error: Some("gone".into()) }),
    ];
    let mut all = BytesMut::new();
    for (number, frame) in frames.iter().enumerate() {
        let mut bytes = BytesMut::from(&[0, 3][..]);
        encode(frame, &mut 0, &mut bytes).unwrap();
        put("link", &format!("raw-{number}"), &bytes);
        all.extend_from_slice(&bytes[2..]);
        let body = &bytes[6..];
        let mut framed = vec![1, 5];
        for (message, last) in [(0u8, 0u8), (1, 0x80), (0, 0x80)] {
            framed.extend([1, message | last, u8::try_from(body.len() & 0xff).unwrap(), u8::try_from(body.len() >> 8).unwrap()]);
            framed.extend_from_slice(body);
        }
        put("link", &format!("chunks-{number}"), &framed);
        if let Frame::Event(event) = frame {
            let mut framed = vec![1, 9, 2 | (u8::try_from(number % 5).unwrap() << 3), u8::try_from(event.seq).unwrap()];
            framed.extend([u8::try_from(event.payload.len()).unwrap(), 0]);
            framed.extend_from_slice(&event.payload);
            put("link", &format!("event-{number}"), &framed);
        }
    }
    put("link", "all", &[&[0, 7][..], &all].concat());
    let jsons: [(u8, &[u8]); 4] = [
        (3, sessions),
        (4, br#"{"id":"1","session_id":"s","cmd":"prompt","message":"m"}"#),
        (5, br#"{"query":"sessions","workspace":"/w","include_children":true,"limit":3}"#),
        (5, br#"{"query":"messages","id":"s","before_idx":7,"limit":3}"#),
    ];
    for (number, (kind, json)) in jsons.iter().enumerate() {
        put("link", &format!("json-{number}"), &[&[1, 2, *kind, 0, u8::try_from(json.len()).unwrap(), 0], *json].concat());
    }
}

fn copy(from: &str, to: &str) {
    for (name, bytes) in corpus::load(from).unwrap() {
        put(to, name.trim_start_matches("seed-"), &bytes);
    }
}

fn journal() {
    let words: [&[u8]; 16] = [
        b"fox",
        b"the quick",
        b"\"",
        b"\"quoted\"",
        b"text:fox",
        b"NEAR(a b)",
        b"a AND NOT (",
        b"*",
        "döG".as_bytes(),
        "二".as_bytes(),
        b"a\0b",
        b"s1",
        b"cold-lamp-s1",
        b"c2",
        br#"{"epoch":"e1","seq":3}"#,
        br#"{"query":"search","q":"fox","limit":3}"#,
    ];
    for (number, word) in words.iter().enumerate() {
        let length = u8::try_from(word.len()).unwrap();
        let mut input = vec![length, 0];
        input.extend_from_slice(word);
        input.extend([u8::try_from(number).unwrap(), 3, 7, 9]);
        put("journal", &format!("words-{number}"), &input);
        // Each column of each table, with each type of value.
        for column in 0..52u8 {
            let mut input = input.clone();
            for (kind, tail) in
                [(0u8, &[][..]), (1, &[241]), (1, &[255, 1, 2, 3, 4, 5, 6, 7, 8]), (3, &[2, 0, 0xff, 0]), (4, &[3, 0, b'{', b'}', 0xff])]
            {
                if (usize::from(column) + usize::from(kind)) % words.len() == number {
                    input.extend([column, 1 + column % 7, kind]);
                    input.extend_from_slice(tail);
                }
            }
            if input.len() > usize::from(length) + 6 {
                put("journal", &format!("column-{number}-{column}"), &input);
            }
        }
    }
    for place in (0..100_000u32).step_by(997) {
        let [_, a, b, c] = place.to_be_bytes();
        put("journal_file", &format!("flip-{place}"), &[a, b, c, 1, 0, 0xa5]);
        if place % 5 == 0 {
            put("journal_file", &format!("cut-{place}"), &[a, b, c, 0, 0]);
        }
    }
    put("journal_file", "whole", &[]);
}

fn others() {
    put("config", "example", std::fs::read(root().join("docs/examples/config.toml")).unwrap().get(..2000).unwrap());
    let configs = [
        "[server]\nport = 8080\nhost = \"127.0.0.1\"\n",
        "[server]\nprot = 1\n",
        "[providers.anthropic]\napi = \"anthropic-messages\"\nbase_url = \"https://api.anthropic.com\"\napi_key = \"env:KEY\"\nmodels = [{ id = \"m\", reasoning = true, input = [\"text\"], context_window = 200000, max_tokens = 64000, cost = { input = 3.0 } }]\n",
        "[providers.x]\nmodels = [{ odd = 1 }]\n",
        "[auth]\ndev_mode = true\njwt_secret = \"changeme\"\n",
        "[log]\nlevel = \"info\"\n",
        "a = [1,\n",
        "[[server]]\n",
        "server.port = 0x1F_90\n",
        "\u{feff}[server]\nport = -1\n",
    ];
    for (number, config) in configs.iter().enumerate() {
        put("config", &number.to_string(), config.as_bytes());
    }
    #[cfg(feature = "server")]
    for (number, name) in octo::config::keys().map(|key| key.path).enumerate() {
        let (section, key) = name.rsplit_once('.').unwrap_or(("", name));
        let value = ["true", "5", "\"x\"", "[\"a\"]", "0.5"][number % 5];
        let section = if section.is_empty() { String::new() } else { format!("[{}]\n", section.replace('*', "n")) };
        put("config", &format!("key-{number}"), format!("{section}{} = {value}\n", key.replace('*', "n")).as_bytes());
    }
    let llm: [(u8, &str); 12] = [
        (
            0,
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":2}}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":5}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        (
            0,
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":1}}}\n\ndata: [DONE]\n\n",
        ),
        (0, "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}}\r\n\r\n"),
        (0, ": comment\ndata:{\"usage\":{\"input_tokens\":18446744073709551615,\"output_tokens\":18446744073709551615}}\n\n"),
        (1, "{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}"),
        (1, "{\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"cache_creation_input_tokens\":1}}"),
        (2, "{\"model\":\"m\",\"max_tokens\":64,\"messages\":[{\"model\":\"inner\"}]}"),
        (2, "{\"mod\\u0065l\":\"a\\\"b\",\"model\":\"c\",\"max_output_tokens\":18446744073709551616}"),
        (
            3,
            "@demo [{\"text\":\"a\",\"chunks\":3,\"delay_ms\":5,\"thinking\":\"hm\",\"tools\":[{\"name\":\"bash\",\"input\":{\"command\":\"ls\"}}],\"bytes\":10,\"usage\":{\"input\":1,\"output\":2},\"cut_after\":4,\"malformed\":true},\"just text\"]",
        ),
        (3, "@demo [{\"status\":529,\"times\":2,\"retry_after\":1}]"),
        (3, "<conversation>\n@demo [1]\n</conversation> @demo ```json\n{\"text\":1}"),
        (3, "@demo [[{}]]"),
    ];
    for (number, (kind, text)) in llm.iter().enumerate() {
        put("llm", &number.to_string(), &[&[*kind, 4], text.as_bytes()].concat());
        put("llm", &format!("cut-{number}"), &[&[*kind, 0], &text.as_bytes()[..text.len() / 2]].concat());
    }
}

fn main() {
    recordings();
    recordings_of_claude();
    mux();
    link();
    copy("link", "peer");
    journal();
    others();
}
