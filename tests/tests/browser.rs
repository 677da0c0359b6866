//! Real agents in a real browser: first light, octo killed and restarted in mid-stream, two windows on one session, the page of actors, an agent that asks,
//! Claude Code beside pi.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Instance, Options, repository, target_dir, until};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

/// Runs a script of `web/e2e` against the instance, and kills an agent, kills or starts octo whenever a line of its output asks for it.
async fn drive(instance: &mut Instance, script: &str) {
    let (username, password) = instance.credentials();
    let shots = target_dir().join("screenshots");
    std::fs::create_dir_all(&shots).unwrap();
    let node = octo_e2e::node();
    let mut child = Command::new(node)
        .args(["--experimental-strip-types", "--no-warnings", &format!("e2e/{script}.e2e.ts")])
        .current_dir(repository().join("web"))
        .env("OCTO_URL", instance.url())
        .env("OCTO_USERNAME", username)
        .env("OCTO_PASSWORD", password)
        .env("OCTO_WORKSPACE", instance.workspace())
        .env("OCTO_SHOTS", &shots)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let complaints = tokio::spawn(async move {
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.map(|_| text)
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        println!("{line}");
        match line.as_str() {
            "ask: kill" => instance.kill_octo(),
            "ask: start" => instance.start().await,
            "ask: kill agent" => {
                let agents = until("there is an agent", || Some(instance.agents()).filter(|agents| !agents.is_empty())).await;
                agents.iter().for_each(octo_e2e::Process::kill);
            }
            _ => {}
        }
    }
    let status = child.wait().await.unwrap();
    let text = complaints.await.unwrap().unwrap();
    assert!(status.success(), "{script} failed in the browser:\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_makes_a_session_prompts_and_reloads_in_mid_stream() {
    drive(&mut Instance::started().await, "first-light").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_notices_of_octo_killed_and_restarted_in_mid_stream_nothing_but_a_banner() {
    drive(&mut Instance::started().await, "restart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_see_the_same_and_a_stop_parks_what_was_queued() {
    drive(&mut Instance::started().await, "windows").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_killed_and_the_page_of_actors_shows_the_restart_as_it_happens() {
    drive(&mut Instance::started().await, "actors").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_asks_is_answered_on_one_device_for_all_and_what_waits_is_changed() {
    let mut instance = Instance::new(Options { config: "[permissions]\ndefault = \"ask\"\n".to_owned(), ..Options::default() });
    instance.start().await;
    drive(&mut instance, "permissions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_is_chosen_asks_and_is_answered_on_another_device_and_a_person_runs_a_command_beside_pi() {
    let mut instance = Instance::new(Options { config: "[permissions]\ndefault = \"ask\"\n".to_owned(), ..Options::default() });
    instance.start().await;
    drive(&mut instance, "claude").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dialog_of_a_new_session_offers_what_is_installed_and_says_how_to_get_the_rest() {
    let mut options = Options::scripted();
    options.config.push_str(&format!(
        "[harness.next]\nlabel = \"pi (next)\"\nprotocol = \"pi-rpc\"\ncommand = {:?}\nmodels = [\"demo/*\"]\n\
         [providers.corp]\napi = \"openai-completions\"\nbase_url = \"http://127.0.0.1:9\"\n\
         models = [{{ id = \"m1\", context_window = 200000, cost = {{ input = 3.0, output = 15.0 }} }}]\n",
        octo_e2e::binary("octo-scripted-agent")
    ));
    let mut instance = Instance::new(options);
    instance.start().await;
    drive(&mut instance, "agents").await;
}
