//! What teaches: help, completions, man pages.

use crate::run::{run, same, stdout};
use octo_e2e::{Instance, Options};

#[test]
fn help_teaches_by_example() {
    let instance = Instance::new(Options::scripted());
    for (name, arguments) in [
        ("help", &["--help"][..]),
        ("help_actor", &["actor", "--help"]),
        ("help_actor_trace", &["actor", "trace", "--help"]),
        ("help_actor_top", &["actor", "top", "--help"]),
        ("help_session", &["session", "--help"]),
        ("help_store_import", &["store", "import", "--help"]),
    ] {
        let output = run(&instance, arguments);
        assert!(output.status.success());
        same(name, &stdout(&output));
    }
    assert_eq!(run(&instance, &["actor", "dance"]).status.code(), Some(2));
    assert_eq!(run(&instance, &[]).status.code(), Some(2));
}

#[test]
fn every_shell_has_completions_and_every_command_a_page() {
    let instance = Instance::new(Options::scripted());
    for shell in ["bash", "zsh", "fish"] {
        let text = stdout(&run(&instance, &["completions", shell]));
        assert!(text.contains("octoctl") && text.contains("journal"), "{shell}");
    }
    assert!(stdout(&run(&instance, &["man"])).contains(".TH octoctl 1"));
    assert!(run(&instance, &["man", "--dir", "pages"]).status.success());
    let pages: Vec<String> =
        std::fs::read_dir(instance.home().join("pages")).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    for page in ["octoctl.1", "octoctl-actor-trace.1", "octoctl-store-import.1"] {
        assert!(pages.iter().any(|there| there == page), "{page} is missing: {pages:?}");
    }
}
