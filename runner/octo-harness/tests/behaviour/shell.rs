//! A person's own command: a tool while it runs, a message when it is done, and never left open.

use crate::scene::{Scene, reply, settled};
use octo_harness::{ExitReport, Harness, Output};
use octo_protocol::event::{Event, InputKind};
use octo_protocol::message::Role;
use octo_protocol::{Command, ErrorCode};
use serde_json::json;

fn bash(command: &str) -> Command {
    Command::Bash { command: command.into(), exclude_from_context: false }
}

fn tool_ends(outputs: &[Output]) -> Vec<(String, bool)> {
    let ended = |output: &Output| match output {
        Output::Event(Event::ToolEnd { tool_call_id, is_error, .. }) => Some((tool_call_id.clone(), *is_error)),
        _ => None,
    };
    outputs.iter().filter_map(ended).collect()
}

#[test]
fn it_outlasts_a_turn_and_is_told_with_what_it_wrote() {
    let mut scene = Scene::running(1);
    let begun = scene.command(2, bash("make"));
    let Some(Output::Event(Event::ToolStart { tool_call_id: call, .. })) = begun.first() else { panic!("{begun:?}") };
    assert_eq!(scene.pi.state().beside.as_ref(), Some(call));
    let wrote = scene.says(json!({"type": "bash_execution_update", "delta": "one\n"}));
    assert!(
        matches!(&wrote[..], [Output::Event(Event::ToolProgress { partial_output, .. })] if partial_output.to_string().contains("one"))
    );
    assert_eq!(reply(&scene.command(3, bash("again")), 3).unwrap().unwrap_err(), ErrorCode::Busy);
    assert_eq!(reply(&scene.command(4, bash("  ")), 4).unwrap().unwrap_err(), ErrorCode::Busy);
    scene.assistant("stop");
    scene.says(json!({"type": "agent_end", "messages": []}));
    let over = scene.says(json!({"type": "agent_settled"}));
    assert_eq!(settled(&over).len(), 1);
    assert!(tool_ends(&over).is_empty(), "the end of the run is not its end: {over:?}");

    let done = scene.answer("bash", json!({"output": "one\ntwo\n", "exitCode": 2, "cancelled": false, "truncated": true}));
    assert_eq!(tool_ends(&done), [(call.clone(), true)]);
    let message = done.iter().find_map(|output| match output {
        Output::Event(Event::MessageEnd { message }) => Some(message),
        _ => None,
    });
    let message = message.unwrap();
    assert_eq!((message.role, format!("bash-{}", message.id)), (Role::System, call.clone()));
    let metadata = message.metadata.as_ref().unwrap();
    assert_eq!((&metadata["command"], &metadata["exit_code"], &metadata["truncated"]), (&json!("make"), &json!(2), &json!(true)));
    assert_eq!(reply(&done, 2).unwrap().unwrap()["output"], "one\ntwo\n");
    assert_eq!(scene.pi.state().beside, None);
    assert_eq!(reply(&scene.command(5, Command::AbortBash), 5).unwrap().unwrap_err(), ErrorCode::InvalidState);
    assert_eq!(reply(&scene.command(6, bash("  ")), 6).unwrap().unwrap_err(), ErrorCode::InvalidRequest);
    scene.end();
}

#[test]
fn an_abort_ends_it_and_so_does_the_end_of_pi() {
    let mut scene = Scene::ready();
    scene.command(1, bash("sleep 300"));
    scene.command(2, Command::Abort);
    assert!(scene.written().iter().any(|line| line["type"] == "abort_bash"));
    scene.answer("abort_bash", json!(null));
    let done = scene.answer("bash", json!({"output": "", "cancelled": true}));
    assert_eq!(reply(&done, 1).unwrap().unwrap()["cancelled"], true);
    scene.answer("abort", json!(null));

    // Refused, answered with nonsense, never answered.
    scene.command(3, bash("x"));
    assert_eq!(tool_ends(&scene.refuse("bash", "no shell here")).len(), 1);
    scene.command(4, bash("y"));
    let nonsense = scene.answer("bash", json!("nonsense"));
    assert_eq!((tool_ends(&nonsense).len(), reply(&nonsense, 4).unwrap().unwrap_err()), (1, ErrorCode::AgentFailed));
    scene.command(5, bash("z"));
    scene.input(6, InputKind::Prompt, "meanwhile");
    let last = scene.exit(ExitReport { signal: Some(9), ..ExitReport::default() });
    assert_eq!(tool_ends(&last).len(), 1);
    assert!(reply(&last, 5).unwrap().is_err());
}
