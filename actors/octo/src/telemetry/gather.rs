//! Fetching the spans of runners and of octo-eavs. They are users' processes, or serve those: none of them reaches the operator's network.

use super::{Component, Telemetry};
use crate::auth::UserId;
use crate::eavs::EavsClient;
use crate::link::Link;
use octo_protocol::ErrorCode;
use octo_protocol::admin::RunnerQuestion;
use octo_protocol::link::{Principal, RequestBody};
use octo_protocol::trace::SpanBatch;
use std::time::Duration;

/// How long a question for spans stays unanswered while there are none.
const WAIT: Duration = Duration::from_secs(10);
/// Patience on top of that.
const PATIENCE: Duration = Duration::from_secs(5);
/// The wait after a question that was not answered.
const AGAIN: Duration = Duration::from_secs(5);
/// Spans of one answer that are looked at; more would not be from a runner of ours.
const MAX_TAKEN: usize = 4096;

/// Fetches a runner's spans until its link is lost.
pub(crate) async fn of_runner(telemetry: Telemetry, link: Link, user: UserId) {
    let wait_ms = u32::try_from(WAIT.as_millis()).unwrap_or(u32::MAX);
    let Ok(json) = serde_json::to_vec(&RunnerQuestion::Spans { wait_ms }) else { return };
    loop {
        let principal = Principal { user: user.to_string(), actor: "octo".to_owned() };
        match link.request(principal, RequestBody::Admin { json: json.clone() }, WAIT + PATIENCE).await {
            Ok(answer) => match serde_json::from_slice::<SpanBatch>(&answer) {
                Ok(batch) => take(&telemetry, Component::Runner, batch, Some(&user)),
                Err(error) => {
                    tracing::warn!(%user, %error, "the runner's spans cannot be read");
                    tokio::time::sleep(AGAIN).await;
                }
            },
            Err(refused) if refused.code == ErrorCode::Unsupported => {
                tracing::info!(%user, "the runner is from before there were traces; its part of them is missing until it is upgraded");
                return;
            }
            Err(refused) if refused.code == ErrorCode::RunnerUnavailable => return,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Fetches octo-eavs' spans for ever.
pub(crate) async fn of_eavs(telemetry: Telemetry, client: EavsClient) {
    loop {
        match client.spans(WAIT).await {
            Ok(Some(batch)) => take(&telemetry, Component::Eavs, batch, None),
            // That it does not answer is another actor's to say.
            Ok(None) | Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

fn take(telemetry: &Telemetry, component: Component, batch: SpanBatch, user: Option<&UserId>) {
    let surplus = batch.spans.len().saturating_sub(MAX_TAKEN) as u64;
    telemetry.lost(batch.dropped.saturating_add(surplus));
    for mut span in batch.spans.into_iter().take(MAX_TAKEN) {
        span.bound();
        if let Some(user) = user {
            // Whose runner it is, is not the runner's to say.
            span.set("octo.user", user.as_str());
        }
        telemetry.take(component, span);
    }
}
