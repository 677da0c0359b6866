//! What goes wrong with pi and its provider: each ends in a clear event, and the session goes on.

use super::{Pi, find, has, names, prompt, to_the_end};
use octo_e2e::{Client, Turn, demo_prompt};
use serde_json::json;

with_both!(what_fails_is_tried_again_or_said_and_the_session_goes_on);

async fn works(client: &mut Client) {
    prompt(client, &demo_prompt("And now?", &[Turn::text("all is well")])).await;
    client.idle("s").await;
}

async fn what_fails_is_tried_again_or_said_and_the_session_goes_on(pi: Pi) {
    let (_instance, mut client) = pi.start("").await;
    prompt(&mut client, &demo_prompt("Fail once.", &[Turn::text("at last").failing(529, 1)])).await;
    let seen = to_the_end(&mut client).await;
    // The old one leaves it to its provider's library, which says nothing of it.
    if pi == Pi::Now {
        assert!(has(&seen, "retry.start") && has(&seen, "retry.end"), "{}", names(&seen));
        assert_eq!(find(&seen, "retry.end")["success"], true);
    }
    assert_eq!(find(&seen, "stream.done")["reason"], "stop");

    prompt(&mut client, &demo_prompt("No key.", &[Turn::text("never").failing(401, 100)])).await;
    let seen = to_the_end(&mut client).await;
    let error = find(&seen, "agent.error");
    assert!(error["recoverable"] == true && !error["error"].as_str().unwrap().is_empty(), "{error}");
    assert!(!has(&seen, "retry.start"), "a key that is refused is not tried again");
    works(&mut client).await;

    prompt(&mut client, &demo_prompt("Garbage.", &[Turn::text("x").malformed(), Turn::text("y")])).await;
    let seen = to_the_end(&mut client).await;
    assert!(has(&seen, "stream.done"), "{}", names(&seen));
    client.command("s", json!({ "cmd": "abort" })).await;
    works(&mut client).await;
}
