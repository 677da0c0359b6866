//! Faults for which octo does not start, or not as it should: there is nobody to ask, and octoctl knows all the same.

use crate::room::names;
use octo_e2e::{Instance, Options};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

fn serve(instance: &Instance, port: u16) -> Output {
    instance.command("octo").args(["serve", "--port", &port.to_string()]).stdin(Stdio::null()).output().unwrap()
}

/// 16. A bad configuration.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_a_mistake_is_named_with_its_line() {
    let mut instance = Instance::new(Options::scripted());
    instance.start().await;
    instance.stop_octo().await;
    let file = instance.home().join(".config/octo/config.toml");
    std::fs::write(&file, "[server]\nprot = 8080\n").unwrap();
    assert!(!serve(&instance, 0).status.success());
    names(&instance, &["doctor"], &["last start", "failed"]).await;
    names(&instance, &["doctor"], &["server.prot"]).await;
    // A start that goes well is the end of it.
    std::fs::write(&file, "").unwrap();
    instance.start().await;
    crate::room::is_well(&instance, &["doctor"], &["last start"]).await;
}

/// 17. The port is somebody else's; octo has never run here.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_where_octo_has_never_run() {
    let instance = Instance::new(Options::scripted());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let served = serve(&instance, port);
    assert!(!served.status.success(), "{served:?}");
    names(&instance, &["doctor"], &["has never started here", &port.to_string()]).await;
}

/// 18. Agents cannot be isolated: bubblewrap is not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_agents_need_and_is_not_there_is_named_with_how_to_get_it() {
    let programs = tempfile::tempdir().unwrap();
    let mut options = Options::scripted();
    options.env.push(("PATH".to_owned(), programs.path().display().to_string()));
    let mut instance = Instance::new(options);
    instance.start().await;
    names(&instance, &["status"], &["bubblewrap", "not found"]).await;
}

/// 19. The operators' door stands open to everybody.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_socket_that_is_open_to_everybody_is_named() {
    let mut instance = Instance::new(Options::scripted());
    instance.start().await;
    let socket = instance.files_named("sock").into_iter().find(|path| path.ends_with("admin.sock"));
    let socket = socket.unwrap_or_else(|| {
        let door: serde_json::Value =
            serde_json::from_slice(&std::fs::read(instance.home().join(".local/state/octo/door.json")).unwrap()).unwrap();
        door["socket"].as_str().unwrap().into()
    });
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    names(&instance, &["doctor"], &["admin socket", "open to everybody"]).await;
}
