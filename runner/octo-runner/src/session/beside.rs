//! Sessions that are made from a session: `session.new`, `session.switch`, and `fork` with [`super::fork`].

use super::actor::Session;
use super::registry::Registry;
use super::{Answer, Answered, NewBeside, Origin, SessionMsg, json, refuse};
use octo_actors::{Ctx, Failure};
use octo_protocol::{Command, CommandFrame, ErrorCode, ProtocolError, SessionConfig};
use serde_json::json as value;

impl Session {
    /// Carries out a command that may make another session, which gets what is in `new`.
    pub async fn beside(&mut self, command: Command, new: Box<NewBeside>, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        match command {
            Command::SessionNew { parent_session } => {
                let parent = parent_session.unwrap_or_else(|| self.row.id.clone());
                self.sibling(None, Some(parent), *new, answer, ctx)
            }
            Command::SessionSwitch { session_path } => self.switch(session_path, new, answer, ctx),
            Command::Fork { entry_id } => self.fork(entry_id, new, answer, ctx).await,
            other => {
                refuse(answer, ProtocolError::new(ErrorCode::InvalidRequest, format!("{} makes no other session", other.name())));
                Ok(())
            }
        }
    }

    /// A new session like this one.
    pub fn sibling(
        &mut self,
        continue_session: Option<String>,
        parent: Option<String>,
        mut new: NewBeside,
        answer: Answer,
        ctx: &Ctx<SessionMsg>,
    ) -> Result<(), Failure> {
        self.keep_harness(&mut new.provision);
        let id = new.id.clone();
        let (registry, config) = (self.registry.clone(), self.config_of_a_sibling());
        let wanted = self.repose.hold();
        ctx.spawn_quiet(async move {
            let _wanted = wanted;
            let config = SessionConfig { continue_session, ..config };
            let _ = answer.send(match open(&registry, new, config, Origin { parent, copies: None }).await {
                Ok(_) => json(&value!({ "session_id": id })),
                Err(error) => Err(error),
            });
        })?;
        Ok(())
    }

    /// What a session like this one is made with.
    pub fn config_of_a_sibling(&self) -> SessionConfig {
        SessionConfig {
            harness: Some(self.row.harness.clone()),
            cwd: Some(self.row.cwd.clone()),
            provider: Some(self.row.provider.clone()),
            model: Some(self.row.model.clone()),
            permissions: self.row.permissions.or(self.row.config.permissions),
            continue_session: None,
            ..self.row.config.clone()
        }
    }

    /// The session whose agent keeps its conversation at `path`; a new one that continues it when there is none.
    fn switch(&mut self, path: String, new: Box<NewBeside>, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if self.registry.get(&path).is_some() || self.row.resume.as_ref() == Some(&path) {
            let id = if self.row.resume.as_ref() == Some(&path) { self.row.id.clone() } else { path };
            let _ = answer.send(json(&value!({ "session_id": id })));
            return Ok(());
        }
        if !std::path::Path::new(&path).is_absolute() {
            let message = format!("{path:?} is neither a session nor the absolute path of an agent's session file");
            refuse(answer, ProtocolError::new(ErrorCode::InvalidRequest, message));
            return Ok(());
        }
        let (journal, address) = (self.shared.journal.clone(), ctx.address().clone());
        let wanted = self.repose.hold();
        ctx.spawn_quiet(async move {
            let _wanted = wanted;
            let rows = match journal.sessions().await {
                Ok(rows) => rows,
                Err(error) => return refuse(answer, error),
            };
            if let Some(row) = rows.into_iter().find(|r| r.resume.as_ref() == Some(&path)) {
                let _ = answer.send(json(&value!({ "session_id": row.id })));
            } else if tokio::fs::metadata(&path).await.is_ok_and(|m| m.is_file()) {
                let _ = address.tell(SessionMsg::Continue { path, new, answer });
            } else {
                refuse(answer, ProtocolError::new(ErrorCode::InvalidRequest, format!("there is no session file {path}")));
            }
        })?;
        Ok(())
    }
}

/// Makes the session that `new` is for.
pub async fn open(registry: &Registry, new: NewBeside, config: SessionConfig, origin: Origin) -> Answered {
    let NewBeside { id, provision } = new;
    let command = Command::SessionCreate { config, cursor: None };
    let frame = Box::new(CommandFrame { id: None, session_id: id.to_string(), runner_id: None, traceparent: None, command });
    let address = registry.actor_or_new(&id).await?;
    let (answer, opened) = tokio::sync::oneshot::channel();
    let gone = |e: String| ProtocolError::new(ErrorCode::NotReady, e);
    let provision = Box::new(provision);
    address.tell(SessionMsg::Open { frame, provision, origin: Some(origin), answer }).map_err(|e| gone(e.to_string()))?;
    opened.await.map_err(|_| gone("the new session ended at once".to_owned()))?
}
