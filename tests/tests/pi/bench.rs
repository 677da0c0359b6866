//! What a permission that nobody has to be asked for costs a real pi: printed, not judged.

use super::{Pi, prompt, until};
use octo_e2e::{Turn, demo_prompt};

/// From the start of a tool to its end, over many calls.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_of_a_tool_call_through_the_policy_is_measured() {
    let (_instance, mut client) = Pi::Now.start("").await;
    let turns: Vec<Turn> = (0..20).map(|_| Turn::text("").bash("true")).chain([Turn::text("done")]).collect();
    prompt(&mut client, &demo_prompt("Many.", &turns)).await;
    let seen = until(&mut client, |frame| frame["event"] == "agent.idle").await;
    let mut took: Vec<u64> = seen.iter().filter(|f| f["event"] == "tool.end").filter_map(|f| f["duration_ms"].as_u64()).collect();
    took.sort_unstable();
    assert_eq!(took.len(), 20);
    println!("a tool that does nothing, with the question to octo's policy in it: median {} ms, most {} ms", took[10], took[19]);
}
