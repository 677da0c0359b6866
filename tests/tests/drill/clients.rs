//! Faults on the side of clients.

use crate::room::{is_well, names, prompt, with};
use octo_e2e::{Client, Path, Script};

/// 20. A slow socket: a client that does not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_named_by_its_connection() {
    let (instance, mut client) = with("").await;
    let narrow = Path { receive_buffer: Some(4096), ..Path::default() };
    let mut slow = Client::new(&instance.url(), client.token()).by(narrow);
    slow.reconnect().await;
    slow.attach("s1").await.unwrap();
    prompt(&mut client, &Script::deltas(20_000).size(400)).await;
    client.idle("s1").await;
    names(&instance, &["status"], &["/users/admin/connections/", "takes nothing"]).await;
    drop(slow);
    is_well(&instance, &["status"], &["takes nothing"]).await;
}

/// 21. No descriptors are left for clients.
#[tokio::test(flavor = "multi_thread")]
async fn an_octo_that_is_about_to_have_no_descriptors_is_named_with_how_many_it_has() {
    let (instance, client) = with("").await;
    let mut others = Vec::new();
    for _ in 0..40 {
        let mut other = Client::new(&instance.url(), client.token());
        other.reconnect().await;
        others.push(other);
    }
    let pid = instance.octo_pid().unwrap();
    let used = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to an rlimit of ours, or null.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) }, 0);
    limit.rlim_cur = used + 6;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) }, 0);
    names(&instance, &["status"], &["descriptors", &format!("of {} in use", used + 6)]).await;
}
