//! `/services/eavs` in the tree: octo-eavs is kept running. A failure is this actor's failure, so that its back-off and its last error are
//! seen where every other actor's are.
//!
//! Of its end it hears at once: one question waits at octo-eavs all the time, which is answered when the next one may start, and broken off when it dies.

use std::time::Duration;

use octo_actors::{Actor, Backoff, Ctx, Failure, Kind, SendError};
use serde_json::{Value, json};

use super::client::EavsClient;

/// What octo starts and looks after besides users.
pub const SERVICES: Kind = Kind::permanent("services");
/// Restarted for ever, at once at first, then after 1 s to 60 s.
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
    /// Whether it ends; why it does not say.
    Checked(Result<bool, String>),
}

impl Actor for EavsService {
    type Msg = Message;
    type Args = EavsClient;

    async fn start(client: EavsClient, ctx: &Ctx<Message>) -> Result<Self, Failure> {
        client.reload().await?;
        let catalog = client.catalog().await?;
        let revoked = client.revoke_left_over().await?;
        tracing::info!(providers = catalog.0.len(), revoked, "octo-eavs answers");
        let service = Self { client, providers: catalog.0.len(), checks: 0 };
        service.attend(ctx)?;
        Ok(service)
    }

    async fn handle(&mut self, message: Message, ctx: &Ctx<Message>) -> Result<(), Failure> {
        let Message::Checked(result) = message;
        self.checks += 1;
        if result? {
            return Err("octo-eavs ends, and the next one starts".into());
        }
        Ok(self.attend(ctx)?)
    }

    fn inspect(&self) -> Value {
        json!({ "providers": self.providers, "checks": self.checks })
    }
}

impl EavsService {
    fn attend(&self, ctx: &Ctx<Message>) -> Result<(), SendError> {
        let client = self.client.clone();
        ctx.spawn_task(async move { Message::Checked(client.ends().await.map_err(|e| e.to_string())) })?;
        Ok(())
    }
}
