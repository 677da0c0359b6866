//! A checker that cannot fail proves nothing: each kind of wrong history is shown to it here, and it has to refuse each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

/// What happens at a client.
#[derive(Debug, Clone)]
enum Step {
    Sends(Value),
    Gets(Value),
    Cut,
}

fn event(seq: u64, name: &str, more: Value) -> Value {
    let mut frame =
        json!({"channel": "agent", "session_id": "s", "runner_id": "local", "ts": 1000 + seq, "epoch": "e1", "seq": seq, "event": name});
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    frame
}

fn of_turn(seq: u64, name: &str, turn: &str, more: Value) -> Value {
    let mut frame = event(seq, name, more);
    frame["turn_id"] = json!(turn);
    frame
}

/// An event without a number.
fn beside(name: &str, more: Value) -> Value {
    let mut frame = event(0, name, more);
    frame.as_object_mut().unwrap().remove("seq");
    frame
}

fn message(id: &str, idx: u64, role: &str, text: &str) -> Value {
    json!({"id": id, "idx": idx, "role": role, "created_at": 1, "parts": [{"type": "text", "id": "p0", "text": text}]})
}

fn sends(id: &str, cmd: &str, more: Value) -> Step {
    let mut frame = json!({"channel": "agent", "session_id": "s", "id": id, "cmd": cmd});
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Step::Sends(frame)
}

fn response(id: &str, cmd: &str) -> Step {
    Step::Gets(
        json!({"channel": "agent", "session_id": "s", "runner_id": "local", "ts": 1, "event": "response", "id": id, "cmd": cmd, "success": true}),
    )
}

/// The journal: two turns, of which the second was missed and is replayed, without its deltas.
fn journal() -> Vec<Value> {
    vec![
        of_turn(1, "input.accepted", "t1", json!({"kind": "prompt", "message": "hello", "client_id": "c1"})),
        of_turn(2, "stream.message_end", "t1", json!({"message": message("m0", 0, "user", "hello")})),
        of_turn(3, "agent.working", "t1", json!({"phase": "generating"})),
        of_turn(8, "stream.message_end", "t1", json!({"message": message("m1", 1, "assistant", "one two three")})),
        of_turn(9, "tool.start", "t1", json!({"tool_call_id": "call", "name": "bash"})),
        of_turn(10, "tool.end", "t1", json!({"tool_call_id": "call", "name": "bash", "output": {}})),
        of_turn(11, "agent.input_needed", "t1", json!({"request": {"type": "confirm", "request_id": "q", "title": "?"}})),
        of_turn(12, "agent.input_resolved", "t1", json!({"request_id": "q"})),
        of_turn(13, "stream.done", "t1", json!({"reason": "stop"})),
        of_turn(14, "agent.idle", "t1", json!({})),
        of_turn(15, "input.accepted", "t2", json!({"kind": "prompt", "message": "again", "client_id": "c2"})),
        of_turn(16, "stream.message_end", "t2", json!({"message": message("m2", 2, "user", "again")})),
        of_turn(20, "stream.message_end", "t2", json!({"message": message("m3", 3, "assistant", "four")})),
        of_turn(21, "stream.done", "t2", json!({"reason": "stop"})),
        of_turn(22, "agent.idle", "t2", json!({})),
        event(23, "notify", json!({"level": "info", "message": "the end"})),
    ]
}

fn history() -> Vec<Value> {
    vec![
        message("m0", 0, "user", "hello"),
        message("m1", 1, "assistant", "one two three"),
        message("m2", 2, "user", "again"),
        message("m3", 3, "assistant", "four"),
    ]
}

/// Everything as it should be: a live turn, a cut, a replay over pruned deltas, and one live event more.
fn good() -> Vec<Step> {
    let journal = journal();
    let row = |seq: u64| Step::Gets(journal.iter().find(|row| row["seq"] == seq).unwrap().clone());
    let delta = |seq, text: &str| {
        Step::Gets(of_turn(seq, "stream.text_delta", "t1", json!({"message_id": "m1", "delta": text, "content_index": 0})))
    };
    let mut steps = vec![
        sends("a1", "session.create", json!({})),
        response("a1", "session.create"),
        Step::Gets(beside("messages", json!({"messages": [], "as_of": 0, "has_more": false, "state": {}}))),
        Step::Gets(beside("replay.start", json!({"after": 0}))),
        Step::Gets(event(0, "replay.end", json!({"count": 0}))),
        sends("p1", "prompt", json!({"message": "hello", "client_id": "c1"})),
        row(1),
        response("p1", "prompt"),
        row(2),
        row(3),
        Step::Gets(of_turn(4, "stream.message_start", "t1", json!({"message_id": "m1", "role": "assistant"}))),
        delta(5, "one "),
        delta(6, "two "),
        delta(7, "three"),
    ];
    steps.extend((8..=14).map(row));
    steps.extend([
        Step::Cut,
        sends("a1", "session.attach", json!({"cursor": {"epoch": "e1", "seq": 14}})),
        response("a1", "session.attach"),
        Step::Gets(beside("replay.start", json!({"after": 14}))),
        row(15),
        row(16),
        row(20),
        row(21),
        row(22),
        Step::Gets(event(22, "replay.end", json!({"count": 5}))),
        sends("n1", "set_session_name", json!({})),
        response("n1", "set_session_name"),
        row(23),
    ]);
    steps
}

fn run(checker: &mut Checker, steps: &[Step]) -> Result<(), Box<Verdict>> {
    let mut frames = Vec::new();
    for step in steps {
        if !matches!(step, Step::Gets(_)) {
            checker.judge_all(&std::mem::take(&mut frames))?;
        }
        match step {
            Step::Sends(frame) => {
                let mut frame = frame.clone();
                // A client goes on where it stands.
                if frame["id"] == "a1" && frame["cursor"].is_object() {
                    frame["cursor"] = checker.cursor("s").unwrap_or_default();
                }
                checker.sent(&frame.to_string());
            }
            Step::Gets(frame) => frames.push(frame.clone()),
            Step::Cut => checker.disconnected(),
        }
    }
    checker.judge_all(&frames)
}

/// Everything that a test asks at its end.
fn verdict(steps: &[Step]) -> Option<Box<Verdict>> {
    let mut checker = Checker::default();
    if let Err(verdict) = run(&mut checker, steps) {
        return Some(verdict);
    }
    let last = [checker.history_verdict("s", &history()), checker.journal_verdict("s", &journal())].into_iter().find_map(Result::err);
    last.or_else(|| {
        let fault = Fault::new(Rule::Response, "unanswered");
        (!checker.commands.unanswered().is_empty()).then(|| Verdict::within(fault, "s", &[], None))
    })
}

fn refused(steps: &[Step], what: &str) -> Box<Verdict> {
    verdict(steps).unwrap_or_else(|| panic!("the checker accepts {what}"))
}

/// `good()` with the event `seq` put elsewhere or made something else.
fn with(seq: u64, change: impl Fn(&mut Vec<Step>, usize)) -> Vec<Step> {
    let mut steps = good();
    let at =
        steps.iter().position(|step| matches!(step, Step::Gets(frame) if frame["seq"] == seq && frame["event"] != "replay.end")).unwrap();
    change(&mut steps, at);
    steps
}

fn renumbered(seq: u64, to: u64) -> Vec<Step> {
    with(seq, |steps, at| {
        if let Step::Gets(frame) = &mut steps[at] {
            frame["seq"] = json!(to);
        }
    })
}

fn changed(seq: u64, change: impl Fn(&mut Value)) -> Vec<Step> {
    with(seq, |steps, at| {
        if let Step::Gets(frame) = &mut steps[at] {
            change(frame);
        }
    })
}

#[test]
fn a_right_history_is_accepted_and_was_really_looked_at() {
    let mut checker = Checker::default();
    run(&mut checker, &good()).unwrap();
    checker.agrees_with("s", &history());
    checker.agrees_with_rest("s", &history());
    checker.agrees_with_journal("s", &journal());
    checker.owes_nothing();
    let Totals { events, responses, messages, whole_messages, turns, tools, snapshots, replays, jumps, resyncs } = checker.totals;
    assert_eq!((events, responses, messages, whole_messages, turns), (25, 4, 4, 1, 2));
    assert_eq!((tools, snapshots, replays, jumps, resyncs), (1, 1, 2, 1, 0));
    assert_eq!(checker.cursor("s"), Some(json!({"epoch": "e1", "seq": 23})));
}

#[test]
fn whichever_frame_is_dropped_it_is_missed() {
    for at in 0..good().len() {
        let mut steps = good();
        let removed = steps.remove(at);
        // A cut ends a replay too, and leaves commands without their response.
        let cut_short = |frame: &Value| (frame["event"] == "replay.end" && frame["seq"] == 0) || frame["id"] == "p1";
        if let Step::Gets(frame) = removed
            && !cut_short(&frame)
        {
            refused(&steps, &format!("a history without {frame}"));
        }
    }
}

#[test]
fn whichever_frame_comes_twice_it_is_noticed() {
    for at in 0..good().len() {
        let mut steps = good();
        if let Step::Gets(frame) = steps[at].clone() {
            steps.insert(at, Step::Gets(frame.clone()));
            refused(&steps, &format!("a history with {frame} twice"));
        }
    }
}

#[test]
fn whichever_frames_change_places_it_is_noticed() {
    for at in 1..good().len() {
        let mut steps = good();
        let (Step::Gets(first), Step::Gets(second)) = (&steps[at - 1], &steps[at]) else { continue };
        // Responses overtake events, and events them, except that of an attach.
        if (first["event"] == "response" || second["event"] == "response")
            && first["cmd"] != "session.attach"
            && first["cmd"] != "session.create"
        {
            continue;
        }
        let what = format!("{first} after {second}");
        steps.swap(at - 1, at);
        refused(&steps, &what);
    }
}

#[test]
fn whichever_numbered_frame_is_another_than_the_journal_has_it_is_noticed() {
    for row in journal() {
        let seq = row["seq"].as_u64().unwrap();
        let verdict = refused(&changed(seq, |frame| frame["ts"] = json!(1)), &format!("another {row}"));
        assert_eq!(verdict.rule, Rule::Changed);
        assert_eq!(verdict.frame.unwrap()["seq"], seq);
    }
}

#[test]
fn a_verdict_names_the_first_wrong_frame_and_its_neighbours() {
    let verdict = refused(&with(6, |steps, at| drop(steps.remove(at))), "a lost delta");
    assert_eq!((verdict.rule, verdict.connection, verdict.session.as_str()), (Rule::Lost, 1, "s"));
    assert_eq!(verdict.frame.as_ref().unwrap()["seq"], 7);
    assert_eq!(verdict.before.iter().map(|f| f["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(verdict.after.iter().map(|f| f["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [8, 9, 10]);
    let text = verdict.to_string();
    assert!(text.starts_with("Lost: the client stands at 5, then came 7 (session \"s\", frame 11 on connection 1)"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("  WRONG ")).count(), 1);
}

#[test]
fn each_kind_of_wrong_number_has_its_name() {
    let twice = with(6, |steps, at| {
        let frame = steps[at].clone();
        steps.insert(at, frame);
    });
    assert_eq!(refused(&twice, "a doubled delta").rule, Rule::Doubled);
    assert_eq!(refused(&with(6, |steps, at| steps.swap(at, at + 1)), "a reordered delta").rule, Rule::Lost);
    let late = with(6, |steps, at| {
        let Step::Gets(mut next) = steps[at + 1].clone() else { panic!() };
        next["seq"] = json!(7);
        steps[at + 1] = steps[at].clone();
        steps[at] = steps[at - 1].clone();
        steps[at - 1] = Step::Gets(next);
    });
    assert_eq!(refused(&late, "a delta that came too late").rule, Rule::Lost);
    assert_eq!(refused(&renumbered(7, 6), "a number that is given twice").rule, Rule::Changed);
    let back = with(23, |steps, at| steps.push(steps[at - 4].clone()));
    assert_eq!(refused(&back, "an event after what follows it").rule, Rule::Reordered);
    assert_eq!(refused(&renumbered(23, 25), "a jump in live events").rule, Rule::Lost);
    assert_eq!(refused(&changed(9, |frame| frame["epoch"] = json!("e2")), "another epoch in mid-stream").rule, Rule::Epoch);
}

/// The message ended while it was replayed: its beginning was pruned already, its last deltas come from the ring.
#[test]
fn behind_a_jump_a_message_may_go_on_without_its_beginning_and_only_there() {
    let working = || Step::Gets(of_turn(18, "agent.working", "t2", json!({"phase": "generating"})));
    let piece = || Step::Gets(of_turn(19, "stream.text_delta", "t2", json!({"message_id": "m3", "delta": "our", "content_index": 0})));
    let replayed = |pieces: Vec<Step>| {
        let mut steps = with(20, |steps, at| drop(steps.splice(at..at, pieces.clone())));
        for step in &mut steps {
            if let Step::Gets(frame) = step
                && frame["event"] == "replay.end"
                && frame["count"] == 5
            {
                frame["count"] = json!(5 + pieces.len());
            }
        }
        steps
    };
    run(&mut Checker::default(), &replayed(vec![working(), piece()])).unwrap();
    let mut own = working();
    if let Step::Gets(frame) = &mut own {
        frame["seq"] = json!(17);
    }
    assert_eq!(refused(&replayed(vec![own, working(), piece()]), "a beginning that no jump hides").rule, Rule::Lost);
}

#[test]
fn a_loss_within_the_brackets_is_no_jump_over_deltas() {
    // The counts fit, so only what the numbers stand for tells.
    let without = |seq: u64| {
        let mut steps = with(seq, |steps, at| drop(steps.remove(at)));
        for step in &mut steps {
            if let Step::Gets(frame) = step
                && frame["event"] == "replay.end"
                && frame["count"] == 5
            {
                frame["count"] = json!(4);
            }
        }
        steps
    };
    assert_eq!(refused(&without(16), "a message lost in a replay").rule, Rule::Lost);
    assert_eq!(refused(&without(20), "a message lost in a replay").rule, Rule::Lost);
    assert_eq!(refused(&without(21), "the end of a turn lost in a replay").rule, Rule::Turn);
    assert_eq!(refused(&without(22), "the end of a turn lost in a replay").rule, Rule::Turn);
    let verdict = refused(&without(15), "an accepted input lost in a replay");
    assert_eq!((verdict.rule, verdict.frame.unwrap()["seq"].as_u64()), (Rule::Lost, Some(15)), "only the journal knows");
}

#[test]
fn what_was_announced_and_is_not_in_the_journal_is_refused() {
    let mut checker = Checker::default();
    run(&mut checker, &good()).unwrap();
    let mut short = journal();
    short.pop();
    let verdict = checker.journal_verdict("s", &short).unwrap_err();
    assert_eq!(verdict.rule, Rule::Unjournalled);
    assert!(verdict.sentence.contains("announced before it was journalled"), "{verdict}");
    let mut holed = journal();
    holed.remove(6);
    assert_eq!(checker.journal_verdict("s", &holed).unwrap_err().rule, Rule::Unjournalled);
}

#[test]
fn history_has_to_be_what_was_seen() {
    let mut checker = Checker::default();
    run(&mut checker, &good()).unwrap();
    let wrong = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut history = history();
        change(&mut history);
        let verdict = checker.history_verdict("s", &history).unwrap_err();
        (verdict.rule, checker.seen("s").conversation.agrees_with_rest("s", &history).is_err())
    };
    assert_eq!(wrong(&|h| drop(h.pop())), (Rule::History, true), "short");
    assert_eq!(wrong(&|h| h.push(message("m4", 4, "user", "more"))), (Rule::Lost, true), "more than was seen");
    assert_eq!(wrong(&|h| drop(h.remove(1))), (Rule::History, true), "a hole");
    assert_eq!(wrong(&|h| h[2] = h[1].clone()), (Rule::History, true), "twice");
    assert_eq!(wrong(&|h| h.swap(1, 2)), (Rule::History, true), "other order");
    assert_eq!(wrong(&|h| h[3]["parts"][0]["text"] = json!("five")), (Rule::History, true), "other words");
    assert_eq!(wrong(&|h| h[3]["role"] = json!("user")), (Rule::History, true), "another speaker");
    assert_eq!(wrong(&|h| h[1]["id"] = json!("m0")), (Rule::Doubled, true), "one id twice");
}

#[test]
fn every_turn_message_tool_and_question_ends_once() {
    let rule = |steps: Vec<Step>, what: &str| refused(&steps, what).rule;
    assert_eq!(rule(changed(9, |f| f["event"] = json!("notify")), "a tool that ended and had not begun"), Rule::Open);
    assert_eq!(rule(changed(10, |f| f["event"] = json!("notify")), "a tool that did not end"), Rule::Open);
    assert_eq!(rule(changed(12, |f| f["event"] = json!("notify")), "a question that was not closed"), Rule::Open);
    assert_eq!(rule(changed(8, |f| f["event"] = json!("notify")), "a message that did not end"), Rule::Open);
    assert_eq!(rule(changed(4, |f| f["event"] = json!("notify")), "pieces of a message that did not begin"), Rule::Lost);
    assert_eq!(rule(changed(13, |f| f["event"] = json!("notify")), "a turn without stream.done"), Rule::Turn);
    assert_eq!(rule(changed(14, |f| f["event"] = json!("notify")), "a turn that did not end before the next"), Rule::Turn);
    assert_eq!(rule(changed(22, |f| f["event"] = json!("notify")), "a turn that never ended"), Rule::Turn);
    assert_eq!(rule(changed(16, |f| f["turn_id"] = json!("t1")), "an event of a turn that has ended"), Rule::Turn);
    assert_eq!(rule(changed(10, |f| f["event"] = json!("stream.done")), "a turn that was done twice"), Rule::Turn);
    let other = |f: &mut Value| f["delta"] = json!("2 ");
    assert_eq!(rule(changed(6, other), "deltas that are not the message"), Rule::Deltas);
    assert_eq!(rule(changed(16, |f| f["message"]["idx"] = json!(1)), "a message in the place of another"), Rule::Doubled);
    assert_eq!(rule(changed(16, |f| f["message"]["id"] = json!("m1")), "a message for the second time"), Rule::Doubled);
    assert_eq!(rule(changed(16, |f| f["message"]["idx"] = json!(3)), "a gap between messages"), Rule::Lost);
}

#[test]
fn a_command_has_one_response_of_its_own() {
    let with_response = |change: &dyn Fn(&mut Value)| {
        let mut steps = good();
        if let Step::Gets(frame) = &mut steps[7] {
            assert_eq!(frame["cmd"], "prompt");
            change(frame);
        }
        refused(&steps, "a wrong response").rule
    };
    assert_eq!(with_response(&|r| r["id"] = json!("p2")), Rule::Response);
    assert_eq!(with_response(&|r| r["id"] = json!("a1")), Rule::Response);
    assert_eq!(with_response(&|r| r["cmd"] = json!("steer")), Rule::Response);
    assert_eq!(with_response(&|r| r["session_id"] = json!("other")), Rule::Response);
    assert_eq!(with_response(&|r| r["id"] = json!("")), Rule::Response);
}

#[test]
#[should_panic(expected = "no response to [\"p9\"]")]
fn a_command_without_a_response_is_named() {
    let mut checker = Checker::default();
    run(&mut checker, &good()).unwrap();
    checker.sent(&json!({"channel": "agent", "session_id": "s", "id": "p9", "cmd": "prompt"}).to_string());
    checker.owes_nothing();
}

#[test]
fn a_resync_is_a_loss_unless_the_test_expects_it() {
    let resync = |epoch: &str, messages: Vec<Value>, as_of: u64| {
        let of = |mut frame: Value| {
            frame["epoch"] = json!(epoch);
            Step::Gets(frame)
        };
        let mut steps = good();
        steps.extend([
            Step::Cut,
            sends("a1", "session.attach", json!({"cursor": {"epoch": "e1", "seq": 23}})),
            response("a1", "session.attach"),
            of(beside("stream.resync_required", json!({"reason": "the journal was started anew"}))),
            of(beside("messages", json!({"messages": messages, "as_of": as_of, "has_more": false, "state": {}}))),
            of(beside("replay.start", json!({"after": as_of}))),
            of(event(as_of, "replay.end", json!({"count": 0}))),
            of(event(as_of + 1, "notify", json!({"level": "info", "message": "new life"}))),
        ]);
        steps
    };
    assert_eq!(refused(&resync("e2", history(), 0), "an unexpected resync").rule, Rule::Resync);
    let expected = |steps: &[Step]| {
        let mut checker = Checker::default();
        checker.may_resync("s");
        run(&mut checker, steps).map_err(|verdict| verdict.rule)?;
        checker.history_verdict("s", &history()).map_err(|verdict| verdict.rule)
    };
    assert_eq!(expected(&resync("e2", history(), 0)), Ok(()));
    // What was seen stays what it was, over the epochs.
    let mut other = history();
    other[3]["parts"][0]["text"] = json!("five");
    assert_eq!(expected(&resync("e2", other, 0)), Err(Rule::Changed));
    assert_eq!(expected(&resync("e2", history()[..3].to_vec(), 0)), Err(Rule::Lost), "a message is lost with the epoch");
    assert_eq!(expected(&resync("e2", history()[1..].to_vec(), 0)), Err(Rule::Lost), "the first one is missing, and there is no more");
    let mut removed = resync("e2", history()[1..].to_vec(), 0);
    for step in &mut removed {
        if let Step::Gets(frame) = step
            && frame["event"] == "messages"
            && frame["epoch"] == "e2"
        {
            frame["removed"] = json!({"messages": 1});
        }
    }
    assert_eq!(expected(&removed), Ok(()), "what is said to be removed is not lost");
    let mut twice = resync("e2", history(), 0);
    twice.extend(resync("e3", history(), 0).split_off(good().len()));
    assert_eq!(expected(&twice), Err(Rule::Resync), "once was expected");
}

#[test]
fn the_same_number_is_the_same_event_after_another_attach() {
    let again = |change: &dyn Fn(&mut Value)| {
        let mut rows: Vec<Value> = journal().into_iter().skip(10).collect();
        change(&mut rows[0]);
        let mut steps = good();
        let count = rows.len();
        steps.push(sends("a2", "session.attach", json!({"cursor": {"epoch": "e1", "seq": 14}})));
        steps.push(response("a2", "session.attach"));
        steps.push(Step::Gets(beside("replay.start", json!({"after": 14}))));
        steps.extend(rows.into_iter().map(Step::Gets));
        steps.push(Step::Gets(event(23, "replay.end", json!({"count": count}))));
        verdict(&steps).map(|verdict| verdict.rule)
    };
    assert_eq!(again(&|_| {}), None, "a second attach goes back, and that is no double");
    assert_eq!(again(&|row| row["message"] = json!("another")), Some(Rule::Changed));
    assert_eq!(again(&|row| row["turn_id"] = json!("t9")), Some(Rule::Changed));
}

#[test]
fn brackets_stand_where_they_belong() {
    let rule = |at: usize, frame: Value| {
        let mut steps = good();
        steps.insert(at, Step::Gets(frame));
        refused(&steps, "a bracket where none belongs").rule
    };
    let end = good().len();
    assert_eq!(rule(end, event(23, "replay.end", json!({"count": 0}))), Rule::Bracket, "an end without a beginning");
    assert_eq!(rule(end, beside("replay.start", json!({"after": 23}))), Rule::Bracket, "a beginning without an end");
    assert_eq!(rule(end, beside("replay.start", json!({"after": 22}))), Rule::Bracket, "a beginning elsewhere");
    assert_eq!(
        rule(end, beside("messages", json!({"messages": [], "as_of": 0, "has_more": false}))),
        Rule::Bracket,
        "messages in mid-stream"
    );
    let mut away = good();
    away.push(Step::Cut);
    away.push(Step::Gets(event(24, "notify", json!({}))));
    assert_eq!(refused(&away, "an event on a connection that is not attached").rule, Rule::Bracket);
}
