//! One user's trouble stays that user's.

use crate::support::*;
use octo::auth::Role;
use octo_actors::{ActorPath, ActorState};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whose_actor_fails_again_and_again_is_degraded_and_another_one_notices_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let point = directory.path().join("point");
    assert!(octo_actors::arm_fail_point(point.clone()));
    let own = std::env::current_exe().unwrap();
    let wanted = format!("{} user follow", own.file_name().unwrap().to_str().unwrap());
    let instance = Instance::start().await;
    let (alices, bobs) = (instance.runner("alice"), instance.runner("bob"));
    alices.open("s");
    bobs.open("s");
    bobs.begin("s", "m1", 1);
    let mut bob = Client::connect(&instance, &instance.token("bob", Role::User).await).await;
    bob.attach("s").await;

    let tree = instance.state.system.directory().clone();
    let path = ActorPath::parse("/users/alice").unwrap();
    let alice = instance.octo.user("alice").unwrap();
    let state = || tree.get(&path).map(|row| row.state);
    let (began, mut tried) = (std::time::Instant::now(), 0);
    let id = octo::auth::UserId::new("alice").unwrap();
    while state() != Some(ActorState::Degraded) {
        assert!(began.elapsed() < 3 * PATIENCE, "{:?}", tree.get(&path));
        if !point.exists() {
            let fresh = point.with_extension("new");
            std::fs::write(&fresh, &wanted).unwrap();
            std::fs::rename(fresh, &point).unwrap();
        }
        // One that nobody follows yet, so that the actor is asked.
        tried += 1;
        let session = format!("s{tried}").parse().unwrap();
        if let Ok(user) = instance.state.users.user(&id).await {
            let _ = tokio::time::timeout(Duration::from_secs(1), user.follow(&session)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = std::fs::remove_file(&point);
    let row = tree.get(&path).unwrap();
    assert!(row.restarts == 5 && row.last_error.unwrap().contains("was armed"), "five restarts in a minute, then it stays down");

    // bob's connection is the same, and in the middle of its message.
    let end = bobs.finish("s", "m1", "of bob");
    bob.reach("s", end).await;
    bob.seen("s").agrees(&bobs.messages("s"));
    let bobs_path = ActorPath::parse("/users/bob").unwrap();
    assert_eq!(tree.get(&bobs_path).map(|row| (row.state, row.restarts)), Some((ActorState::Running, 0)));
    assert_eq!(tree.get(&ActorPath::parse("/users").unwrap()).map(|row| row.restarts), Some(0));
    // A person brings alice back.
    tree.restart(&path).await.unwrap();
    let began = std::time::Instant::now();
    while alice.attach("s".parse().unwrap()).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "{:?}", tree.get(&path));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
