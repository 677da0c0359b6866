//! `/services/eavs` in the tree: octo-eavs is kept running. A failure is this actor's failure, so that its back-off and its last error are
//! seen where every other actor's are.

use std::time::Duration;

use octo_actors::{Actor, Backoff, Ctx, Failure, Kind};
use serde_json::{Value, json};

use super::client::EavsClient;

/// How often octo-eavs is asked how it is.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// What octo starts and looks after besides users.
pub const SERVICES: Kind = Kind::permanent("services");
/// Restarted for ever, after 1 s at first and 60 s at most.
pub const SERVICE: Kind = Kind::permanent("service")
    .unlimited()
    .backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(60)))
    .restart_stuck(Duration::from_secs(180));

/// The actor.
pub struct EavsService {
    client: EavsClient,
    providers: usize,
    checks: u64,
}

/// What it is told.
pub enum Message {
    /// Time to look.
    Check,
    /// What was found.
    Checked(Result<(), String>),
}

impl Actor for EavsService {
    type Msg = Message;
    type Args = EavsClient;

    async fn start(client: EavsClient, ctx: &Ctx<Message>) -> Result<Self, Failure> {
        client.reload().await?;
        let catalog = client.catalog().await?;
        let revoked = client.revoke_left_over().await?;
        tracing::info!(providers = catalog.0.len(), revoked, "octo-eavs answers");
        ctx.tell_every(CHECK_EVERY, || Message::Check)?;
        Ok(Self { client, providers: catalog.0.len(), checks: 0 })
    }

    async fn handle(&mut self, message: Message, ctx: &Ctx<Message>) -> Result<(), Failure> {
        match message {
            Message::Check => {
                let client = self.client.clone();
                ctx.spawn_task(async move { Message::Checked(client.health().await.map(|_| ()).map_err(|e| e.to_string())) })?;
            }
            Message::Checked(result) => {
                self.checks += 1;
                result?;
            }
        }
        Ok(())
    }

    fn inspect(&self) -> Value {
        json!({ "providers": self.providers, "checks": self.checks })
    }
}
