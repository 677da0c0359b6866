//! Golden JSON of every wire shape: what existing clients parse does not change by accident.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_protocol::mux::agent::{Envelope, envelope};
use octo_protocol::mux::{ClientFrame, ServerFrame};
use octo_protocol::{Command, Epoch, Event, EventPayload, Part};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The example of the W3C's page.
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Every command of the protocol page with all its members, as a client writes it.
fn commands() -> Vec<Value> {
    let cursor = json!({"epoch": "e1", "seq": 41});
    let mut all: Vec<Value> = vec![
        json!({"cmd": "session.create", "config": {"harness": "pi", "cwd": "/srv/demo", "provider": "demo", "model": "scripted", "continue_session": "/s.jsonl", "sandbox": "development", "placement": "local", "permissions": "ask"}, "cursor": cursor}),
        json!({"cmd": "session.attach", "cursor": cursor}),
        json!({"cmd": "session.new", "parent_session": "ses_0"}),
        json!({"cmd": "session.switch", "session_path": "/s.jsonl"}),
        json!({"cmd": "prompt", "message": "hello", "images": [{"data": "AA==", "media_type": "image/png"}], "client_id": "c-1", "traceparent": TRACEPARENT}),
        json!({"cmd": "steer", "message": "left", "client_id": "c-2"}),
        json!({"cmd": "follow_up", "message": "then right", "client_id": "c-3"}),
        json!({"cmd": "input_response", "request_id": "q1", "value": "v", "confirmed": true, "cancelled": false, "option_id": "o"}),
        json!({"cmd": "get_messages", "before_idx": 7, "limit": 50}),
        json!({"cmd": "get_models", "workdir": "/srv"}),
        json!({"cmd": "fork", "entry_id": "abcd1234"}),
        json!({"cmd": "set_model", "provider": "demo", "model_id": "scripted"}),
        json!({"cmd": "set_auto_compaction", "enabled": true}),
        json!({"cmd": "set_auto_retry", "enabled": false}),
        json!({"cmd": "compact", "instructions": "short"}),
        json!({"cmd": "set_session_name", "name": "Demo"}),
        json!({"cmd": "bash", "command": "make test", "exclude_from_context": true}),
        json!({"cmd": "abort_bash"}),
        json!({"cmd": "export_html", "path": "/work/talk.html"}),
        json!({"cmd": "delegate", "target_session_id": "ses_2", "target_runner_id": "local", "message": "m", "mode": "async", "sandbox_profile": "strict", "timeout_ms": 1000, "max_tokens": 10, "context": "c", "client_id": "c-4"}),
        json!({"cmd": "delegate.cancel", "request_id": "d1"}),
        json!({"cmd": "permission.list"}),
        json!({"cmd": "permission.add", "rule": {"mode": "deny", "tool": "bash", "workspace": "/srv", "subject": "rm -rf /", "expires_in_ms": 3_600_000}}),
        json!({"cmd": "permission.remove", "rule_id": "rule_1"}),
        json!({"cmd": "set_permissions", "mode": "ask"}),
        json!({"cmd": "queue.drop", "client_id": "c-5"}),
        json!({"cmd": "queue.replace", "client_id": "c-5", "message": "m", "new_client_id": "c-6"}),
    ];
    for level in ["off", "minimal", "low", "medium", "high", "xhigh"] {
        all.push(json!({"cmd": "set_thinking_level", "level": level}));
    }
    for name in [
        "session.detach",
        "session.close",
        "session.delete",
        "session.restart",
        "list_sessions",
        "abort",
        "get_state",
        "get_stats",
        "get_commands",
        "get_fork_points",
        "cycle_model",
        "cycle_thinking_level",
        "abort_retry",
    ] {
        all.push(json!({"cmd": name}));
    }
    for command in &mut all {
        command["channel"] = json!("agent");
        command["id"] = json!("r1");
        command["session_id"] = json!("ses_1");
        command["runner_id"] = json!("local");
    }
    all
}

/// Frames of the other channels, as a client writes them.
fn other_client_frames() -> Vec<Value> {
    let files = |op: Value| merge(json!({"channel": "files", "id": "f1", "workspace_path": "/srv/demo"}), op);
    let trx = |op: Value| merge(json!({"channel": "trx", "id": "t1", "workspace_path": "/srv/demo"}), op);
    vec![
        json!({"channel": "system", "type": "ping", "id": "p"}),
        json!({"channel": "system", "type": "watch_actors", "id": "w", "path": "/users"}),
        json!({"channel": "system", "type": "unwatch_actors", "id": "w"}),
        files(json!({"type": "tree", "path": "", "depth": 6, "include_hidden": false})),
        files(json!({"type": "read", "path": "a"})),
        files(json!({"type": "write", "path": "a", "content": "aGk=", "create_parents": true})),
        files(json!({"type": "list", "path": "a", "include_hidden": true})),
        files(json!({"type": "stat", "path": "a"})),
        files(json!({"type": "delete", "path": "a", "recursive": true})),
        files(json!({"type": "create_directory", "path": "a", "create_parents": true})),
        files(json!({"type": "rename", "from": "a", "to": "b"})),
        files(json!({"type": "copy", "from": "a", "to": "b", "overwrite": true})),
        files(json!({"type": "move", "from": "a", "to": "b", "overwrite": false})),
        files(json!({"type": "search", "query": "q", "limit": 10})),
        files(json!({"type": "watch", "path": "a"})),
        files(json!({"type": "unwatch", "path": "a"})),
        json!({"channel": "terminal", "type": "open", "id": "o", "terminal_id": "t", "session_id": "s", "workspace_path": "/srv", "cols": 80, "rows": 24}),
        json!({"channel": "terminal", "type": "input", "terminal_id": "t", "data": "ls\r"}),
        json!({"channel": "terminal", "type": "resize", "terminal_id": "t", "cols": 100, "rows": 30}),
        json!({"channel": "terminal", "type": "close", "terminal_id": "t"}),
        json!({"channel": "terminal", "type": "attach", "id": "a", "terminal_id": "t"}),
        json!({"channel": "terminal", "type": "list", "id": "l"}),
        json!({"channel": "hstry", "type": "query", "id": "h", "session_id": "s", "query": "q", "limit": 5}),
        trx(json!({"type": "list"})),
        trx(json!({"type": "create", "data": {"title": "t", "description": "d", "issue_type": "bug", "priority": 1, "parent_id": "p-1"}})),
        trx(json!({"type": "update", "issue_id": "p-2", "data": {"title": "t", "description": "d", "status": "blocked", "priority": 0}})),
        trx(json!({"type": "close", "issue_id": "p-2", "reason": "done"})),
        trx(json!({"type": "sync"})),
        json!({"channel": "session", "type": "pong"}),
        json!({"channel": "session", "type": "ping"}),
        json!({"channel": "session", "type": "a2ui_action", "id": "x", "session_id": "s", "surface_id": "f", "request_id": "r", "action": {"name": "ok"}}),
    ]
}

fn message() -> Value {
    json!({
        "id": "m1", "idx": 3, "role": "assistant", "client_id": "c-1",
        "sender": {"type": "agent", "id": "a", "name": "A", "runner_id": "local", "session_id": "ses_0"},
        "parts": [
            {"type": "text", "id": "p1", "text": "hi", "format": "markdown"},
            {"type": "thinking", "id": "p2", "text": "hm"},
            {"type": "tool_call", "id": "p3", "toolCallId": "t1", "name": "bash", "input": {"command": "ls"}, "status": "success"},
            {"type": "tool_result", "id": "p4", "toolCallId": "t1", "name": "bash", "output": {"content": [{"type": "text", "text": "a"}]}, "isError": false, "durationMs": 12},
            {"type": "file_ref", "id": "p5", "uri": "file:///a", "label": "a", "range": {"startLine": 1, "endLine": 2}},
            {"type": "image", "id": "p6", "source": "base64", "data": "AA==", "mimeType": "image/png", "alt": "x"},
            {"type": "audio", "id": "p7", "source": "url", "url": "u", "mimeType": "audio/ogg", "durationSec": 1.5, "transcript": "t"},
            {"type": "video", "id": "p8", "source": "attachmentRef", "attachmentId": "at", "mimeType": "video/mp4", "durationSec": 2.0},
            {"type": "attachment", "id": "p9", "source": "url", "url": "u", "filename": "f", "sizeBytes": 9},
            {"type": "x-octo-demo", "id": "p10", "payload": {"any": [1, "two"]}, "meta": null}
        ],
        "created_at": 1_795_365_176_228_i64, "model": "scripted", "provider": "demo", "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3, "cache_write_tokens": 4, "cost_usd": 0.5},
        "tool_call_id": "t1", "tool_name": "bash", "is_error": false, "metadata": {"k": "v"}
    })
}

fn state() -> Value {
    json!({
        "model": {"id": "scripted", "name": "Demo", "api": "anthropic-messages", "provider": "demo", "reasoning": true, "input": ["text"], "contextWindow": 200_000, "maxTokens": 8192, "cost": {"input": 0.0, "output": 0.0, "cacheRead": 0.0, "cacheWrite": 0.0}},
        "thinkingLevel": "off", "isStreaming": true, "isCompacting": false, "steeringMode": "one-at-a-time", "followUpMode": "all", "sessionFile": "/s.jsonl", "sessionId": "ses_1",
        "sessionName": "n", "autoCompactionEnabled": true, "messageCount": 3, "pendingMessageCount": 1, "pendingInput": [{"type": "confirm", "request_id": "q", "title": "t", "message": "m", "timeout": 5}],
        "status": "needs_input", "queued": [{"kind": "steer", "message": "m", "client_id": "c-9"}], "runningTools": [{"toolCallId": "t1", "name": "bash", "partialOutput": {"content": []}}], "turnId": "t-1", "cwd": "/srv", "permissions": "allow"
    })
}

/// Every event of the protocol page with all its members, as a runner writes it.
fn payloads() -> Vec<Value> {
    let mut all = vec![
        json!({"event": "session.created", "resumed": false, "harness": "pi"}),
        json!({"event": "session.closed", "reason": "asked"}),
        json!({"event": "session.restarted", "attempt": 1, "reason": "killed by signal 9"}),
        json!({"event": "session.unreachable", "reason": "the runner does not answer"}),
        json!({"event": "session.reachable"}),
        json!({"event": "input.accepted", "kind": "prompt", "client_id": "c-1", "message": "hello", "images": [{"data": "AA==", "media_type": "image/png"}], "traceparent": TRACEPARENT}),
        json!({"event": "queue.changed", "steering": [{"kind": "steer", "message": "m", "client_id": "c"}], "follow_up": []}),
        json!({"event": "session.title_changed", "title": "t", "readable_id": "calm-otter"}),
        json!({"event": "session.heartbeat", "process": {"alive": true, "pid": 4711, "rss_bytes": 1, "cpu_pct": 0.5, "uptime_s": 9}, "head": 41}),
        json!({"event": "agent.idle", "message_version": {"version": 4, "message_count": 4}}),
        json!({"event": "agent.working", "phase": "tool_running", "detail": "bash"}),
        json!({"event": "agent.error", "error": "e", "recoverable": true, "phase": "generating", "code": "agent_failed"}),
        json!({"event": "agent.input_resolved", "request_id": "q1", "by": "alice"}),
        json!({"event": "permission.decided", "request_id": "q1", "allowed": true, "by": "rule", "tool": "bash", "subject": "ls", "tool_call_id": "t1", "rule_id": "rule_1"}),
        json!({"event": "config.permissions_changed", "mode": "ask"}),
        json!({"event": "stream.message_start", "message_id": "m1", "role": "assistant"}),
        json!({"event": "stream.text_delta", "message_id": "m1", "delta": "a", "content_index": 0}),
        json!({"event": "stream.thinking_delta", "message_id": "m1", "delta": "a", "content_index": 0}),
        json!({"event": "stream.tool_call_start", "message_id": "m1", "tool_call_id": "t1", "content_index": 1, "name": "bash"}),
        json!({"event": "stream.tool_call_delta", "message_id": "m1", "tool_call_id": "t1", "content_index": 1, "delta": "{"}),
        json!({"event": "stream.tool_call_end", "message_id": "m1", "tool_call_id": "t1", "content_index": 1, "tool_call": {"id": "t1", "name": "bash", "input": {"command": "ls"}}}),
        json!({"event": "stream.message_end", "message": message()}),
        json!({"event": "stream.message_discarded", "message_id": "m1", "reason": "retried"}),
        json!({"event": "stream.done", "reason": "stop"}),
        json!({"event": "stream.resync_required", "reason": "epoch", "dropped_count": 3}),
        json!({"event": "tool.start", "tool_call_id": "t1", "name": "bash", "input": {"command": "ls"}}),
        json!({"event": "tool.progress", "tool_call_id": "t1", "name": "bash", "partial_output": {"content": []}}),
        json!({"event": "tool.end", "tool_call_id": "t1", "name": "bash", "output": {"content": []}, "is_error": false, "duration_ms": 12}),
        json!({"event": "retry.start", "attempt": 1, "max_attempts": 3, "delay_ms": 200, "error": "429"}),
        json!({"event": "retry.end", "success": false, "attempt": 3, "final_error": "429"}),
        json!({"event": "compact.start", "reason": "overflow"}),
        json!({"event": "compact.end", "success": true, "will_retry": true, "error": "e", "summary": "s", "tokens_before": 100}),
        json!({"event": "config.model_changed", "provider": "demo", "model_id": "scripted"}),
        json!({"event": "config.thinking_level_changed", "level": "high"}),
        json!({"event": "notify", "level": "warning", "message": "m"}),
        json!({"event": "status", "key": "k", "text": "t"}),
        json!({"event": "usage", "usage": {"input_tokens": 1, "output_tokens": 2}, "session_total": {"input_tokens": 3, "output_tokens": 4, "cost_usd": 0.25}}),
        json!({"event": "messages", "messages": [message()], "as_of": 40, "has_more": true, "state": state()}),
        json!({"event": "replay.start", "after": 40}),
        json!({"event": "replay.end", "count": 2}),
        json!({"event": "persisted", "message_count": 4}),
        json!({"event": "delegate.start", "request_id": "d1", "target_session_id": "s", "target_runner_id": "local", "mode": "sync"}),
        json!({"event": "delegate.delta", "request_id": "d1", "delta": "a"}),
        json!({"event": "delegate.end", "request_id": "d1", "response": "r", "responder": "s", "duration_ms": 5}),
        json!({"event": "delegate.error", "request_id": "d1", "error": "e", "code": "timeout"}),
    ];
    for request in [
        json!({"type": "select", "request_id": "q1", "title": "t", "options": ["a"], "timeout": 9}),
        json!({"type": "confirm", "request_id": "q1", "title": "t", "message": "m"}),
        json!({"type": "input", "request_id": "q1", "title": "t", "placeholder": "p"}),
        json!({"type": "permission", "request_id": "q1", "title": "t", "description": "d", "metadata": {"tool": "bash"}, "options": [
            {"option_id": "o1", "label": "Allow", "kind": "allow_once"}, {"option_id": "o2", "label": "Always", "kind": "allow_always"},
            {"option_id": "o3", "label": "Deny", "kind": "deny_once"}, {"option_id": "o4", "label": "Never", "kind": "deny_always"}]}),
        json!({"type": "editor", "request_id": "q1", "title": "t", "prefill": "p"}),
    ] {
        all.push(json!({"event": "agent.input_needed", "request": request}));
    }
    for payload in &mut all {
        payload["turn_id"] = json!("t-1");
    }
    all
}

fn server_frames() -> Vec<Value> {
    let head = json!({"channel": "agent", "session_id": "ses_1", "runner_id": "local", "ts": 1_795_365_176_228_i64});
    let mut all: Vec<Value> =
        payloads().into_iter().map(|payload| merge(merge(head.clone(), json!({"epoch": "e1", "seq": 42})), payload)).collect();
    let response = merge(head, json!({"event": "response", "id": "r1", "cmd": "get_state"}));
    all.push(merge(response.clone(), json!({"success": true, "data": state()})));
    for code in [
        "session_not_found",
        "invalid_request",
        "invalid_state",
        "unsupported",
        "permission_denied",
        "not_ready",
        "busy",
        "runner_unavailable",
        "agent_failed",
        "timeout",
        "cancelled",
        "limit_exceeded",
        "conflict",
        "internal",
    ] {
        all.push(merge(response.clone(), json!({"success": false, "error": "why", "code": code})));
    }
    let session = |frame: Value| merge(json!({"channel": "session"}), frame);
    let files = |frame: Value| merge(json!({"channel": "files", "id": "f1"}), frame);
    let issue = json!({"id": "p-1", "title": "t", "description": "d", "status": "open", "priority": 2, "issue_type": "task", "created_at": "c", "updated_at": "u", "closed_at": "x", "parent_id": "p-0", "labels": ["l"], "blocked_by": ["p-9"]});
    all.extend([
        json!({"channel": "system", "type": "connected", "connection_id": "7", "server_version": "0.1.0", "protocol": 1, "resume": true}),
        json!({"channel": "system", "type": "pong", "id": "p"}),
        json!({"channel": "system", "type": "error", "error": "Invalid command: …", "id": "x"}),
        json!({"channel": "system", "type": "notice", "level": "info", "message": "m"}),
        json!({"channel": "system", "type": "shutdown", "reason": "restart", "retry_after_ms": 500}),
        json!({"channel": "system", "type": "actors", "rows": [{"path": "/users", "kind": "users", "state": "running", "restarts": 0, "mailbox": 0, "processed": 1, "last_error": "e", "started_at": 1, "mailbox_limit": 256, "busy_ms": 7, "busy_with": "wake"}], "gone": ["/x"], "at": 1, "first": true, "more": true, "id": "w", "left_out": [{"path": "/users/bob/runner", "reason": "it does not answer"}]}),
        json!({"channel": "system", "type": "actors", "rows": [], "gone": [], "at": 2}),
        files(json!({"type": "tree_result", "path": "", "entries": [{"name": "a", "path": "a", "type": "directory", "modified": 1, "children": [{"name": "b", "path": "a/b", "type": "file", "size": 2}]}]})),
        files(json!({"type": "read_result", "path": "a", "content": "aGk=", "size": 2, "truncated": false})),
        files(json!({"type": "write_result", "path": "a", "success": true})),
        files(json!({"type": "list_result", "path": "a", "entries": [{"name": "b", "is_dir": false, "is_symlink": true, "size": 1, "modified_at": 2}]})),
        files(json!({"type": "stat_result", "path": "a", "stat": {"exists": true, "is_file": true, "is_dir": false, "is_symlink": false, "size": 1, "modified_at": 2, "created_at": 1, "mode": 420}})),
        files(json!({"type": "delete_result", "path": "a", "success": true})),
        files(json!({"type": "create_directory_result", "path": "a", "success": true})),
        files(json!({"type": "rename_result", "from": "a", "to": "b", "success": true})),
        files(json!({"type": "copy_result", "from": "a", "to": "b", "success": true})),
        files(json!({"type": "move_result", "from": "a", "to": "b", "success": true})),
        files(json!({"type": "search_result", "query": "q", "paths": ["a"], "truncated": false})),
        files(json!({"type": "watch_result", "path": "a", "success": true})),
        files(json!({"type": "unwatch_result", "path": "a", "success": true})),
        files(json!({"type": "changed", "workspace_path": "/srv", "paths": ["a"]})),
        files(json!({"type": "error", "error": "e", "code": "invalid_request"})),
        json!({"channel": "terminal", "type": "opened", "id": "o", "terminal_id": "t"}),
        json!({"channel": "terminal", "type": "output", "terminal_id": "t", "data_base64": "aGk="}),
        json!({"channel": "terminal", "type": "exit", "terminal_id": "t", "code": 0}),
        json!({"channel": "terminal", "type": "error", "id": "o", "terminal_id": "t", "error": "e"}),
        json!({"channel": "terminal", "type": "list_result", "id": "l", "terminals": [{"terminal_id": "t", "workspace_path": "/srv", "cols": 80, "rows": 24, "created_at": 1}]}),
        json!({"channel": "hstry", "type": "result", "id": "h", "data": {"messages": []}}),
        json!({"channel": "hstry", "type": "error", "id": "h", "error": "e"}),
        json!({"channel": "trx", "id": "t", "type": "list_result", "issues": [issue]}),
        json!({"channel": "trx", "id": "t", "type": "issue_result", "issue": issue}),
        json!({"channel": "trx", "id": "t", "type": "sync_result", "success": true}),
        json!({"channel": "trx", "id": "t", "type": "error", "error": "e"}),
        session(json!({"type": "connected"})),
        session(json!({"type": "ping"})),
        session(json!({"type": "error", "error": "e", "id": "x"})),
        session(json!({"type": "ui.navigate", "path": "/s/1", "replace": false})),
        session(json!({"type": "ui.session", "session_id": "s", "mode": "chat"})),
        session(json!({"type": "ui.view", "view": "files"})),
        session(json!({"type": "ui.palette", "open": true})),
        session(json!({"type": "ui.palette_exec", "command": "c", "args": {"a": 1}})),
        session(json!({"type": "ui.spotlight", "target": "t", "title": "i", "description": "d", "action": "a", "position": "top", "active": true})),
        session(json!({"type": "ui.tour", "steps": [{"a": 1}], "start_index": 0, "active": true})),
        session(json!({"type": "ui.sidebar", "collapsed": true})),
        session(json!({"type": "ui.panel", "view": "v", "collapsed": false})),
        session(json!({"type": "ui.theme", "theme": "dark"})),
        session(json!({"type": "a2ui_surface", "session_id": "s", "surface_id": "f", "messages": [{"a": 1}], "blocking": true, "request_id": "r"})),
    ]);
    all
}

fn merge(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

#[test]
fn every_client_frame_is_read_and_written_back_unchanged() {
    let frames: Vec<Value> = commands().into_iter().chain(other_client_frames()).collect();
    for frame in &frames {
        let parsed = ClientFrame::parse(&frame.to_string()).unwrap_or_else(|error| panic!("{error}\n{frame}"));
        assert_eq!(&serde_json::to_value(&parsed).unwrap(), frame);
    }
    insta::assert_snapshot!("client_frames", lines(&frames));
}

#[test]
fn every_server_frame_is_read_and_written_back_unchanged() {
    let frames = server_frames();
    for frame in &frames {
        let parsed: ServerFrame = serde_json::from_value(frame.clone()).unwrap_or_else(|error| panic!("{error}\n{frame}"));
        assert_eq!(&serde_json::to_value(&parsed).unwrap(), frame);
    }
    insta::assert_snapshot!("server_frames", lines(&frames));
}

#[test]
fn the_lists_of_commands_and_events_are_complete() {
    let mut named: Vec<String> = commands().iter().map(|c| c["cmd"].as_str().unwrap().to_owned()).collect();
    named.sort();
    named.dedup();
    let mut known: Vec<String> = Command::NAMES.iter().map(|&name| name.to_owned()).collect();
    known.sort();
    assert_eq!(named, known, "every command has a golden frame");
    for command in commands() {
        let ClientFrame::Agent(frame) = ClientFrame::parse(&command.to_string()).unwrap() else { panic!("not a command") };
        assert_eq!(frame.command.name(), command["cmd"]);
    }
    for payload in payloads() {
        let parsed: EventPayload = serde_json::from_value(payload.clone()).unwrap();
        assert_eq!(parsed.event.name(), payload["event"]);
        assert!(serde_json::to_string(&parsed).unwrap().starts_with("{\"event\":"), "the event's name comes first: it is peeked at");
    }
    // The enum itself is the list: a new variant without a golden frame is found here.
    let schema = serde_json::to_value(schemars::schema_for!(Event)).unwrap();
    let mut variants: Vec<String> =
        schema["oneOf"].as_array().unwrap().iter().map(|v| v["properties"]["event"]["const"].as_str().unwrap().to_owned()).collect();
    variants.sort();
    let mut shown: Vec<String> = payloads().iter().map(|p| p["event"].as_str().unwrap().to_owned()).collect();
    shown.sort();
    shown.dedup();
    assert_eq!(variants, shown, "every event has a golden frame");
}

#[test]
fn a_frame_that_cannot_be_read_says_what_is_wrong_and_keeps_its_id() {
    for (text, reason, id) in [
        ("", "one JSON object", None),
        ("null", "one JSON object", None),
        (r#"["agent","7"]"#, "one JSON object", None),
        ("{", "EOF", None),
        ("{}", "needs a `channel`", None),
        (r#"{"channel":"nope","id":"7"}"#, "unknown channel \"nope\"", Some("7")),
        (r#"{"channel":"agent","id":"7","session_id":"s","cmd":"nope"}"#, "unknown variant `nope`", Some("7")),
        (r#"{"channel":"agent","id":"7","session_id":"s","cmd":"prompt"}"#, "missing field `message`", Some("7")),
        (r#"{"channel":"agent","id":"7","session_id":"s","cmd":"prompt","message":"m","client_id":"no spaces"}"#, "client id", Some("7")),
        (r#"{"channel":"system","id":"8","type":"nope"}"#, "unknown variant `nope`", Some("8")),
    ] {
        let error = ClientFrame::parse(text).unwrap_err();
        assert!(error.reason.contains(reason), "{text}: {error}");
        assert_eq!(error.id.as_deref(), id, "{text}");
        assert!(error.to_string().starts_with("Invalid command: "));
    }
    let deep =
        format!("{{\"channel\":\"agent\",\"id\":\"d\",\"cmd\":\"prompt\",\"message\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(ClientFrame::parse(&deep).is_err());
}

#[test]
fn an_extension_part_is_kept_untouched_and_an_unknown_part_is_refused() {
    let part: Part = serde_json::from_value(json!({"type": "x-foo", "id": "1", "payload": [null]})).unwrap();
    assert_eq!(serde_json::to_value(&part).unwrap(), json!({"type": "x-foo", "id": "1", "payload": [null]}));
    assert!(serde_json::from_value::<Part>(json!({"type": "foo", "id": "1"})).unwrap_err().to_string().contains("unknown variant"));
    assert!(serde_json::from_value::<Part>(json!({"id": "1"})).unwrap_err().to_string().contains("needs a `type`"));
}

#[test]
fn ids_are_checked_at_the_edge() {
    use octo_protocol::SessionId;
    for good in ["a", "ses_1", "0.9-x", &"a".repeat(128)] {
        assert!(SessionId::new(good).is_ok(), "{good}");
    }
    for bad in ["", ".a", "-a", "_a", "a/b", "a b", "ä", "a\0", &"a".repeat(129)] {
        assert!(SessionId::new(bad).is_err(), "{bad:?}");
    }
}

fn lines(frames: &[Value]) -> String {
    frames.iter().map(|frame| format!("{frame}\n")).collect()
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z\\\\\"\u{2028}\u{0}-\u{1f}]{0,40}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any_text().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any_text(), inner, 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (any_text(), any_text(), any::<u32>()).prop_map(|(message_id, delta, content_index)| Event::TextDelta {
            message_id,
            delta,
            content_index
        }),
        (any_text(), any_text(), any_json()).prop_map(|(tool_call_id, name, partial_output)| Event::ToolProgress {
            tool_call_id,
            name,
            partial_output
        }),
        (any_text(), any_text(), any_json(), any::<bool>(), any::<u64>()).prop_map(
            |(tool_call_id, name, output, is_error, duration_ms)| Event::ToolEnd { tool_call_id, name, output, is_error, duration_ms }
        ),
        (any_text(), any::<bool>()).prop_map(|(error, recoverable)| Event::AgentError { error, recoverable, phase: None, code: None }),
        (any_text(), any_text(), any_json()).prop_map(|(id, text, input)| {
            let mut message: octo_protocol::Message = serde_json::from_value(message()).unwrap();
            message.parts = vec![
                Part::text(id.clone(), text),
                octo_protocol::part::KnownPart::ToolCall {
                    id: id.clone(),
                    tool_call_id: id,
                    name: "n".into(),
                    input: Some(input).filter(|v| !v.is_null()),
                    status: None,
                }
                .into(),
            ];
            Event::MessageEnd { message }
        }),
    ]
}

proptest! {
    #[test]
    fn any_event_survives_its_payload_and_its_envelope(event in any_event(), turn_id in proptest::option::of(any_text()), traced in any::<bool>(), session in any_text(), seq in proptest::option::of(0..1_u64 << 53), ts in any::<i64>()) {
        let traceparent = traced.then(|| TRACEPARENT.parse().unwrap());
        let payload = EventPayload { event, turn_id, traceparent };
        let bytes = serde_json::to_vec(&payload).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<EventPayload>(&bytes).unwrap(), &payload);
        let epoch = Epoch::new("e1").unwrap();
        let frame = envelope(Envelope { session_id: &session, runner_id: "local", ts, epoch: &epoch, seq }, &bytes).unwrap();
        let ServerFrame::Agent(octo_protocol::mux::agent::AgentFrame::Event(read)) = serde_json::from_slice(&frame).unwrap() else { panic!("not an event") };
        prop_assert_eq!(&read.payload, &payload);
        prop_assert_eq!((read.session_id, read.ts, read.seq, read.epoch), (session, ts, seq, Some(epoch)));
    }

    #[test]
    fn any_text_from_a_client_is_a_frame_or_an_error_and_never_a_panic(text in any_text(), frame in any_json()) {
        let _ = ClientFrame::parse(&text);
        let _ = ClientFrame::parse(&frame.to_string());
        let _ = ClientFrame::parse(&merge(json!({"channel": "agent", "cmd": "prompt", "message": "m"}), frame).to_string());
    }

    #[test]
    fn an_envelope_is_only_put_around_an_object(payload in proptest::collection::vec(any::<u8>(), 0..20)) {
        let epoch = Epoch::new("e1").unwrap();
        let wrapped = envelope(Envelope { session_id: "s", runner_id: "r", ts: 0, epoch: &epoch, seq: None }, &payload);
        if serde_json::from_slice::<Value>(&payload).is_ok_and(|v| v.as_object().is_some_and(|o| !o.is_empty())) && payload[0] == b'{' && payload.last() == Some(&b'}') && payload[1] != b'}' {
            prop_assert!(serde_json::from_slice::<Value>(&wrapped.unwrap()).is_ok());
        } else if payload.first() != Some(&b'{') {
            prop_assert!(wrapped.is_none());
        }
    }
}

#[test]
fn a_frame_that_cannot_be_read_is_answered_by_its_id_whatever_else_is_wrong() {
    for text in [
        r#"{"id":"x","channel":5}"#,
        r#"{"id":"x","channel":["agent"]}"#,
        r#"{"id":"x","channel":"agent","cmd":"abort","session_id":5}"#,
        r#"{"id":"x","channel":"agent","cmd":"abort","runner_id":{"a":[1]}}"#,
        r#"{"id":5,"id":"x","channel":"agent","cmd":"abort"}"#,
        r#"{"id":"x","channel":"system","type":"ping","cmd":7}"#,
        r#"{"id":"x","channel":"agent","cmd":12}"#,
        r#"{"id":"x","channel":"agent"}"#,
        r#"{"id":"x","channel":"system","type":0}"#,
        r#"{"id":"x","channel":"session","type":1}"#,
        r#"{"id":"x","channel":"files","workspace_path":"/w","type":2}"#,
        r#"{"id":"x","channel":"nowhere"}"#,
        r#"{"id":"x"}"#,
    ] {
        // A member that is none of its channel's is skipped.
        let Err(error) = ClientFrame::parse(text) else {
            assert!(text.contains(r#""ping""#), "{text}");
            continue;
        };
        assert_eq!(error.id.as_deref(), Some("x"), "{text}");
        let command = text.contains(r#""cmd":"abort""#).then_some("abort");
        assert_eq!(error.command.map(|failed| failed.cmd).as_deref(), command, "{text}");
    }
}

#[test]
fn an_error_does_not_send_the_frame_back() {
    let long = "x".repeat(1024 * 1024);
    for text in [
        format!(r#"{{"channel":"agent","cmd":"{long}"}}"#),
        format!(r#"{{"channel":"agent","cmd":"set_thinking_level","level":"{long}"}}"#),
        format!(r#"{{"channel":"{long}"}}"#),
        format!(r#"{{"channel":"files","workspace_path":"/w","type":"{long}"}}"#),
    ] {
        assert!(ClientFrame::parse(&text).unwrap_err().reason.len() < 4096);
    }
}

#[test]
fn sums_of_absurd_usage_stay_at_the_largest_number() {
    let most = octo_protocol::Usage {
        input_tokens: u64::MAX,
        output_tokens: u64::MAX,
        cache_read_tokens: Some(u64::MAX),
        cache_write_tokens: Some(u64::MAX),
        cost_usd: Some(f64::MAX),
    };
    let mut sum = most.clone();
    sum.add(&most);
    assert_eq!((sum.cache_read_tokens, sum.cache_write_tokens), (Some(u64::MAX), Some(u64::MAX)));
}
