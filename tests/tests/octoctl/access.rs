//! Who may, and by which way.

use crate::run::{instance, octoctl, run, same, stderr, stdout, text};
use octo_e2e::{Instance, Options};
use serde_json::Value;
use std::os::unix::process::CommandExt;

/// A user and a group who own nothing.
const NOBODY: u32 = 65_534;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_same_door_over_http_and_nothing_less_does() {
    let (instance, client) = instance().await;
    let url = instance.url();
    let arguments = ["--server", url.as_str(), "user", "list"];
    let with = |token: Option<&str>| {
        let mut command = octoctl(&instance, &arguments);
        if let Some(token) = token {
            command.env("OCTO_AUTH_TOKEN", token);
        }
        command.output().unwrap()
    };
    let (good, none, bad) = (with(Some(client.token())), with(None), with(Some("not-a-token")));
    assert_eq!((good.status.code(), none.status.code(), bad.status.code()), (Some(0), Some(77), Some(77)));
    same("http_without_a_token", &text(&instance, &arguments, &none));
    same("http_with_a_bad_token", &text(&instance, &arguments, &bad));
    let stable = |output: String| {
        let mut value: Value = serde_json::from_str(&output).unwrap();
        value["users"][0]["last_login_at"].take();
        value
    };
    let over_http =
        octoctl(&instance, &["--json", "--server", &url, "user", "list"]).env("OCTO_AUTH_TOKEN", client.token()).output().unwrap();
    assert_eq!(stable(stdout(&over_http)), stable(stdout(&run(&instance, &["--json", "user", "list"]))));
    let nowhere = octoctl(&instance, &["--server", "http://127.0.0.1:1", "status"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(69), "{}", stderr(&nowhere));
}

/// Starts octoctl as nobody, from where nobody can.
fn as_nobody(arguments: &[&str]) -> std::process::Output {
    let place = tempfile::Builder::new().prefix("octoctl-").tempdir_in("/tmp").unwrap();
    let copy = place.path().join("octoctl");
    std::fs::copy(octo_e2e::binary("octoctl"), &copy).unwrap();
    for path in [place.path(), copy.as_path()] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::process::Command::new(&copy).args(arguments).env_clear().current_dir("/").uid(NOBODY).gid(NOBODY).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_the_configured_group_is_an_admin_where_they_can_reach_the_socket() {
    let group = nix::unistd::Group::from_gid(NOBODY.into()).unwrap();
    let (true, Some(group)) = (nix::unistd::geteuid().is_root(), group) else {
        eprintln!("skipped: only root can connect as a member of another group");
        return;
    };
    let place = tempfile::Builder::new().prefix("octo-door-").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let socket = place.path().join("admin.sock");
    let scripted = Options::scripted();
    let config = format!("{}[server]\nadmin_socket = {socket:?}\nadmin_group = {:?}\n", scripted.config, group.name);
    let mut instance = Instance::new(Options { config, ..scripted });
    instance.start().await;
    let output = as_nobody(&["--socket", socket.to_str().unwrap(), "user", "list", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let users: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(users["users"][0]["id"], "admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_of_the_machine_is_told_that_they_may_not() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can connect as somebody else");
        return;
    }
    let (instance, _client) = instance().await;
    let note = std::fs::read_to_string(instance.home().join(".local/state/octo/door.json")).unwrap();
    let door: Value = serde_json::from_str(&note).unwrap();
    let arguments = ["--socket", door["socket"].as_str().unwrap(), "status"];
    let output = as_nobody(&arguments);
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
    same("another_user", &text(&instance, &arguments, &output));
}
