//! One client that never reads, beside those that do: their 99th percentile with it and without it, in turn, in the same run.

use super::Scale;
use super::fanout::octo;
use crate::figure::{Figures, Goal};
use crate::stage::{SESSION, Stage};
use anyhow::{Context, Result};
use octo_e2e::{Client, Path, Script};
use serde_json::Value;

/// Its own system keeps next to nothing for it, so that what it does not read is octo's.
const NARROW: Path = Path { source: None, receive_buffer: Some(128 * 1024) };

/// Attached, live, and from here on it reads nothing.
async fn silent(stage: &Stage) -> Result<Client> {
    let mut client = Client::new(&stage.instance.url(), stage.client.token()).by(NARROW);
    client.reconnect().await;
    client.attach(SESSION).await.context("octo takes one more")?;
    client.event(SESSION, |frame| frame["event"] == "replay.end").await.context("it is live")?;
    Ok(client)
}

fn behind(client: &Client, head: &Value) -> bool {
    client.checker.cursor(SESSION).is_none_or(|at| at["epoch"] != head["epoch"] || at["seq"].as_u64() < head["seq"].as_u64())
}

pub async fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    let readers = scale.pick(100, 10);
    let script = Script::deltas(scale.pick(1000, 40)).paced(scale.pick(200.0, 400.0)).size(40).stamped();
    // More than its socket, and the session's ring, hold; at a pace at which those who read stay in the ring and see every delta.
    let flood = Script::deltas(scale.pick(6000, 500)).paced(scale.pick(2000.0, 1000.0)).size(400).stamped();
    let mut stage = Stage::new().await;
    for round in 0..scale.rounds {
        let mut p99 = [0.0; 2];
        // Now one first, now the other: whatever else the machine does falls on both.
        for with in if round % 2 == 0 { [false, true] } else { [true, false] } {
            let client = if with { Some(silent(&stage).await?) } else { None };
            octo(&mut stage, readers, &flood).await?;
            p99[usize::from(with)] = octo(&mut stage, readers, &script).await?.p99;
            let Some(mut client) = client else { continue };
            // At last: the flood and the turn, event by event or, for what is over, as messages. Its checker judges that nothing is missing.
            let head = stage.cursor()?;
            while client.checker.is_replaying(SESSION) || behind(&client, &head) {
                client.next().await.context("the connection holds")?;
            }
        }
        let name = format!("stdout to socket, p99 of {readers} readers beside one that never reads");
        figures.add("silent", &name, "µs", Goal::RatioAtMost(1.2), p99[1], Some(("without it", p99[0])));
    }
    Ok(())
}
