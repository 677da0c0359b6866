//! First light in a real browser: log in, make a session, prompt, reload in mid-stream.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Instance, repository, target_dir};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_makes_a_session_prompts_and_reloads_in_mid_stream() {
    let instance = Instance::started().await;
    let (username, password) = instance.credentials();
    let shots = target_dir().join("screenshots");
    std::fs::create_dir_all(&shots).unwrap();
    let node = std::env::var("OCTO_TEST_NODE").unwrap_or_else(|_| "node".to_owned());
    let (url, workspace) = (instance.url(), instance.workspace());
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new(node)
            .args(["--experimental-strip-types", "--no-warnings", "e2e/first-light.e2e.ts"])
            .current_dir(repository().join("web"))
            .env("OCTO_URL", url)
            .env("OCTO_USERNAME", username)
            .env("OCTO_PASSWORD", password)
            .env("OCTO_WORKSPACE", workspace)
            .env("OCTO_SHOTS", &shots)
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(output.status.success(), "the browser test failed:\n{text}");
}
