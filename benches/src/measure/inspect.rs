//! What looking inside costs: processor time of octo and octo-runner at twenty thousand events a second, with somebody who watches the actors and reads the metrics every
//! second, and without.

use super::Scale;
use super::fanout::octo;
use crate::figure::{Figures, Goal};
use crate::stage::Stage;
use anyhow::{Result, ensure};
use octo_e2e::{Client, Script, request};
use std::time::Duration;

/// Prometheus asks every fifteen seconds unless told otherwise; this one asks as often as the page of actors is told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches the tree of actors and reads the metrics, until it is dropped.
struct Onlooker(tokio::task::JoinHandle<()>);

impl Onlooker {
    async fn at(stage: &Stage) -> Result<Self> {
        let (url, token) = (stage.instance.url(), stage.client.token().to_owned());
        let mut client = Client::new(&url, &token);
        client.reconnect().await;
        ensure!(client.send_text(r#"{"channel":"system","type":"watch_actors"}"#.to_owned()).await, "octo takes one more who watches");
        Ok(Self(tokio::spawn(async move {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            loop {
                tokio::select! {
                    frame = client.next() => if frame.is_none() { return },
                    _ = looks.tick() => drop(request("GET", &format!("{url}/api/metrics"), Some(&token), None).await),
                }
            }
        })))
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub async fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    let rate = scale.pick(20_000.0, 1000.0);
    let seconds = scale.pick(10, 1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number above zero")]
    let script = Script::deltas(rate as u64 * seconds).paced(rate).size(20);
    let mut stage = Stage::new().await;
    for round in 0..scale.rounds {
        let mut used = [0.0; 2];
        // Now one first, now the other: whatever else the machine does falls on both.
        for looked_at in if round % 2 == 0 { [false, true] } else { [true, false] } {
            let onlooker = if looked_at { Some(Onlooker::at(&stage).await?) } else { None };
            used[usize::from(looked_at)] = octo(&mut stage, 1, &script).await?.cpu_all / (seconds as f64 * 1e6) * 100.0;
            drop(onlooker);
        }
        let name = format!("octo and octo-runner at {rate} events/s, looked at every second");
        figures.add("inspect", &name, "% of a core", Goal::ExtraAtMost(1.0), used[1], Some(("nobody looks", used[0])));
    }
    Ok(())
}
