//! Golden JSON of what operators read: scripts depend on it, and members are only ever added.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_protocol::admin::*;
use octo_protocol::mux::system::ActorRow;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Write as _;

fn row() -> ActorRow {
    ActorRow {
        path: "/users/alice".into(),
        kind: "user".into(),
        state: "stuck".into(),
        restarts: 2,
        mailbox: 3,
        processed: 40,
        last_error: Some("why".into()),
        trouble: Some("what is wrong".into()),
        started_at: 1_795_365_176_228,
        mailbox_limit: Some(256),
        busy_ms: Some(7000),
        busy_with: Some("follow".into()),
    }
}

/// Writes it down, reads it back with a member that nobody knows, and finds the same.
fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(listing: &mut String, name: &str, value: &T) {
    let written = serde_json::to_value(value).unwrap();
    let mut more = written.clone();
    if let Value::Object(members) = &mut more
        && members.len() > 1
    {
        members.insert("of_a_later_version".into(), json!(1));
    }
    assert_eq!(&serde_json::from_value::<T>(more).unwrap(), value, "{name}");
    writeln!(listing, "{name} {written}").unwrap();
}

#[test]
fn what_operators_read_stays_what_it_is() {
    let mut all = String::new();
    let out = &mut all;
    let left_out = vec![LeftOut { path: "/users/bob/runner".into(), reason: "it does not run".into() }];
    golden(out, "actors", &Actors { rows: vec![row()], at: 5, left_out: left_out.clone() });
    golden(out, "inspection", &Inspection { row: row(), snapshot: json!({ "total": 1 }), age_ms: Some(12), may_restart: Some(true) });
    let traced = Traced { path: "/users".into(), message: "wake".into(), queued_us: Some(3), handled_us: 40, outcome: Outcome::Panicked };
    golden(out, "trace.message", &TraceLine::Message(traced.clone()));
    golden(out, "trace.dropped", &TraceLine::Dropped(9));
    golden(out, "trace.lost", &TraceLine::Lost(left_out[0].clone()));
    golden(out, "trace.quiet", &TraceLine::Quiet);
    golden(out, "trace.batch", &TraceBatch { messages: vec![traced], dropped: 1 });
    for question in [
        RunnerQuestion::Inspect { path: "/history".into() },
        RunnerQuestion::Restart { path: "/history".into() },
        RunnerQuestion::TraceOpen { path: "/".into() },
        RunnerQuestion::TraceNext { trace: 1, wait_ms: 5000 },
        RunnerQuestion::TraceClose { trace: 1 },
        RunnerQuestion::VerifyJournal,
        RunnerQuestion::Spans { wait_ms: 5000 },
        RunnerQuestion::PathOpen { session: "s".parse().unwrap() },
        RunnerQuestion::PathNext { path: 1, wait_ms: 5000 },
        RunnerQuestion::PathClose { path: 1 },
    ] {
        golden(out, "question", &question);
    }
    golden(out, "trace.opened", &TraceOpened { trace: 1 });
    golden(out, "path.opened", &PathOpened { path: 1, boot_id: "b".into() });
    let made = RunnerHop::Made { from: 3, to: 4, read: 1, translated: 2 };
    let committed = RunnerHop::Committed { from: 3, to: 4, at: 3 };
    golden(out, "path.hops", &RunnerHops { hops: vec![made, committed, RunnerHop::Sent { seq: 3, at: 5 }], dropped: 1 });
    let socket = SocketPath { connection: "7".into(), taken_us: 6, written_us: 7 };
    let event = EventPath {
        seq: 3,
        event: "stream.text_delta".into(),
        translated_us: Some(1),
        committed_us: Some(2),
        sent_us: Some(3),
        received_us: Some(4),
        queued_us: 5,
        sockets: vec![socket],
        more_sockets: 1,
        total_us: Some(28),
    };
    golden(out, "path.begun", &PathLine::Begun { user: "alice".into(), session: "s".into(), one_clock: true });
    golden(out, "path.event", &PathLine::Event(event));
    golden(out, "path.dropped", &PathLine::Dropped(9));
    golden(out, "path.quiet", &PathLine::Quiet);
    golden(out, "found.here", &Found::Here(1));
    golden(out, "found.ended", &Found::<u8>::Ended(Box::new(row())));
    golden(out, "found.unknown", &Found::<u8>::Unknown);
    golden(out, "found.root", &Found::<u8>::Root);
    let component = Component {
        name: "store".into(),
        standing: Standing::Note,
        version: Some("schema 1".into()),
        found: "full".into(),
        hint: Some("make room".into()),
    };
    let status = Status {
        version: "0.1.0".into(),
        pid: 7,
        started_at: 1,
        accounts: 2,
        users_awake: 1,
        connections: 3,
        sessions: [("idle".to_owned(), 1)].into(),
        actors: [("running".to_owned(), 9)].into(),
        components: vec![component],
        trouble: vec![Trouble { what: "/users/alice".into(), sentence: "is stuck".into() }],
    };
    golden(out, "status", &status);
    let session = json!({
        "user": "alice", "session_id": "s", "state": "idle", "cwd": "/srv", "last_activity": 2, "created_at": 1, "subscriber_count": 0, "harness": "pi",
        "epoch": "e1", "seq": 4, "message_count": 2
    });
    golden(out, "session", &serde_json::from_value::<AdminSession>(session).unwrap());
    golden(out, "sessions", &AdminSessions { sessions: vec![], left_out });
    let user = AdminUser {
        id: "alice".into(),
        username: "alice".into(),
        display_name: "Alice".into(),
        role: "user".into(),
        is_active: true,
        created_at: 1,
        last_login_at: Some(2),
        awake: true,
        connections: 1,
        followed: 1,
    };
    golden(out, "user", &user);
    golden(out, "slept", &Slept { user: "alice".into(), was_awake: true, connections: 2 });
    let runner = Runner {
        user: "alice".into(),
        socket: "/run/a.sock".into(),
        running: true,
        pid: Some(4),
        linked: true,
        software: Some("octo-runner 0.1.0".into()),
        link: Some(2),
        started_at: Some(1),
        sessions: Some(3),
        log: "/log".into(),
    };
    golden(out, "runner", &runner);
    golden(out, "restarted", &Restarted { what: "alice".into(), pid_before: Some(1), pid: Some(2) });
    golden(out, "upgraded", &Upgraded { user: "alice".into(), pid: 1, before: "a".into(), after: "b".into(), binary: "/bin/b".into() });
    golden(out, "log_file", &LogFile { name: "octo".into(), path: "/log".into(), bytes: 3, changed_at: 4 });
    golden(out, "log_text", &LogText { name: "octo".into(), lines: vec!["line".into()], has_more: true, next: 9 });
    let report = JournalReport {
        path: "/journal.db".into(),
        bytes: 1,
        schema: 3,
        sessions: 1,
        events: 9,
        unsummed: 0,
        damaged: 1,
        rows: vec![Damaged { session: Some("s".into()), seq: 3 }],
        beyond_head: vec!["t".into()],
        structure: vec!["row 1 missing".into()],
        took_ms: 5,
    };
    golden(out, "journal", &report);
    golden(out, "store.head", &StoreHead { octo_store: 1, version: "0.1.0".into(), exported_at: 1, entries: 2 });
    golden(out, "store.entry", &StoreEntry { tree: "usernames".into(), key: "alice".into(), value: json!("alice") });
    golden(out, "imported", &Imported { entries: 2, removed: 1, restart_needed: true });
    let door = Door {
        socket: "/run/admin.sock".into(),
        url: "http://127.0.0.1:8080".into(),
        run_dir: "/run".into(),
        logs_dir: "/logs".into(),
        data_dir: "/data".into(),
        config_file: "/config.toml".into(),
        version: "0.1.0".into(),
        pid: 7,
    };
    golden(out, "door", &door);
    insta::assert_snapshot!(all);
}
