use std::sync::Arc;

use octo_actors::{ActorRow, ActorState, Backoff, Kind, MAX_ENDED, MAX_ERROR, MAX_REMOTE_ROWS, StartError, System};

use crate::lab::*;

#[tokio::test(start_paused = true)]
async fn two_systems_in_one_process_never_meet() {
    let ((one, a, _), (two, b, lab_b)) = (probe(Kind::permanent("probe")).await, probe(Kind::permanent("probe")).await);
    assert_eq!(a.path(), b.path());
    a.tell(Msg::Add(1)).unwrap();
    assert_eq!((total(&a).await, total(&b).await), (1, 0));
    let mut trace = two.directory().trace(path("/")).unwrap();
    a.tell(Msg::Add(1)).unwrap();
    one.shutdown(SOON).await;
    assert_eq!((one.directory().list().len(), two.directory().list().len()), (0, 1));
    assert!(trace.try_next().is_none());
    assert_eq!((lab_b.alive(), b.state()), (1, ActorState::Running));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_taken_once_and_a_name_must_be_a_path() {
    let (system, probe, lab) = probe(Kind::permanent("probe")).await;
    let start = |name: &'static str| {
        let lab = Arc::clone(&lab);
        let root = system.root().clone();
        async move { root.start_child::<Probe>(Kind::permanent("x"), name, move || Arc::clone(&lab)).await.map(drop) }
    };
    assert_eq!(start("probe").await, Err(StartError::Exists(probe.path().clone())));
    assert!(matches!(start("../probe").await, Err(StartError::Name(_))));
    assert_eq!(lab.starts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_plants_its_children_again_when_it_restarts_and_its_handle_goes_on() {
    let (system, lab) = (System::new(), Lab::new());
    let planted = Arc::clone(&lab);
    let kind = Kind::permanent("service").intensity(1, SOON * 600).backoff(Backoff::NONE);
    let services = system
        .root()
        .start_group(Kind::permanent("services"), "services", move |services| {
            let lab = Arc::clone(&planted);
            async move {
                services.start_child::<Probe>(kind, "eavs", move || Arc::clone(&lab)).await?;
                Ok(())
            }
        })
        .await
        .unwrap();
    let extra = child(&services, kind, "extra", &Lab::new()).await;
    extra.ready(SOON).await.unwrap();
    for _ in 0..2 {
        extra.ready(SOON).await.unwrap();
        extra.tell(Msg::Fail).unwrap();
        settle().await;
    }
    extra.closed().await;
    tokio::time::sleep(SOON).await;
    let paths: Vec<_> = system.directory().list().into_iter().map(|row| (row.path.to_string(), row.restarts)).collect();
    assert_eq!(paths, [("/services".to_owned(), 1), ("/services/eavs".to_owned(), 0)]);
    assert_eq!((lab.starts(), lab.alive()), (2, 1));
    child(&services, kind, "extra", &lab).await.ready(SOON).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_subtree_is_what_lies_below_a_path() {
    let system = System::new();
    for name in ["users/al", "users/alice", "users/alice/runner", "users/alice-2"] {
        child(system.root(), Kind::permanent("x"), name, &Lab::new()).await;
    }
    let below: Vec<_> = system.directory().subtree(&path("/users/alice")).into_iter().map(|r| r.path.to_string()).collect();
    assert_eq!(below, ["/users/alice", "/users/alice/runner"]);
    assert_eq!(system.directory().list().len(), 4);
}

fn remote(at: &str) -> ActorRow {
    ActorRow {
        path: path(at),
        kind: "agent".into(),
        state: ActorState::Running,
        restarts: 2,
        mailbox: 0,
        mailbox_limit: 64,
        processed: 9,
        last_error: None,
        trouble: None,
        started_at_ms: 1,
        busy_ms: None,
        busy_with: None,
        remote: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_remote_tree_is_shown_below_its_mount_until_it_is_unmounted() {
    let system = System::new();
    child(system.root(), Kind::permanent("runner"), "users/alice/runner", &Lab::new()).await;
    let (directory, mount) = (system.directory(), path("/users/alice/runner"));
    let rows = vec![remote("/history"), remote("/sessions/ses_1/agent")];
    assert_eq!(directory.mount(mount.clone(), rows), 0);
    let all: Vec<_> = directory.list().into_iter().map(|r| (r.path.to_string(), r.remote)).collect();
    let shown = |at: &str, remote| (at.to_owned(), remote);
    assert_eq!(
        all,
        [
            shown("/users/alice/runner", false),
            shown("/users/alice/runner/history", true),
            shown("/users/alice/runner/sessions/ses_1/agent", true)
        ]
    );
    let agent = path("/users/alice/runner/sessions/ses_1/agent");
    assert_eq!(directory.get(&agent).unwrap().restarts, 2);
    assert_eq!(directory.remote(&agent), Some((mount.clone(), path("/sessions/ses_1/agent"))));
    assert_eq!(directory.remote(&mount), None, "the mount itself is local");
    assert_eq!(directory.mount(mount.clone(), vec![remote("/history")]), 0);
    assert_eq!(directory.subtree(&mount).len(), 2, "a new mount replaces the old one");
    assert!(directory.unmount(&mount) && !directory.unmount(&mount));
    assert_eq!(directory.list().len(), 1);
}

#[tokio::test]
async fn what_a_remote_tree_may_bring_is_limited() {
    let system = System::new();
    let mut rows: Vec<_> = (0..MAX_REMOTE_ROWS + 5).map(|n| remote(&format!("/s/{n}"))).collect();
    rows[0].last_error = Some("ü".repeat(MAX_ERROR));
    rows[1] = remote(&format!("/{}", "x".repeat(510)));
    assert_eq!(system.directory().mount(path("/users/a/runner"), rows), 5);
    let kept = system.directory().list();
    assert_eq!(kept.len(), MAX_REMOTE_ROWS);
    assert_eq!(system.directory().get(&path("/users/a/runner/s/0")).unwrap().last_error.unwrap().len(), MAX_ERROR);
}

#[tokio::test(start_paused = true)]
async fn the_ended_are_remembered_up_to_a_limit() {
    let system = System::new();
    for n in 0..MAX_ENDED + 10 {
        child(system.root(), Kind::temporary("x"), &format!("c/{n}"), &Lab::new()).await;
        system.root().stop_child(&format!("c/{n}"), SOON).await.unwrap();
    }
    let ended = system.directory().ended();
    assert_eq!((ended.len(), ended[0].path.clone()), (MAX_ENDED, path(&format!("/c/{}", MAX_ENDED + 9))));
    assert_eq!(ended[0].state, ActorState::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_children_come_and_go_without_a_trace_left() {
    let (system, lab) = (System::new(), Lab::new());
    let mut addresses = Vec::new();
    for n in 0..1000 {
        addresses.push(child(system.root(), Kind::transient("c"), &format!("connections/{n}"), &lab).await);
    }
    for (n, address) in addresses.iter().enumerate() {
        address.tell(if n % 2 == 0 { Msg::Stop } else { Msg::Add(1) }).unwrap();
    }
    for address in addresses.iter().step_by(2) {
        address.closed().await;
    }
    assert_eq!((system.directory().list().len(), lab.alive()), (500, 500));
    system.shutdown(SOON * 60).await;
    assert_eq!((system.directory().list().len(), lab.alive()), (0, 0));
}
