//! Whether this program can go on with what another one would hand over. Asked as a child of that one; nothing is touched.

use super::document::Document;
use crate::agent::translator;
use crate::journal::SCHEMA_VERSION;
use octo_harness::StartOptions;
use octo_protocol::link::{LINK_VERSION, LINK_VERSION_MIN};
use serde::{Deserialize, Serialize};
use std::fs::File;

/// The answer, one JSON object on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub software: String,
    /// Why not; nothing when it can.
    pub refusal: Option<String>,
}

pub(super) fn software() -> String {
    format!("octo-runner {}", env!("CARGO_PKG_VERSION"))
}

/// Reads the document in `file` and says whether the runner of `user` could be gone on with.
#[must_use]
pub fn examine(file: File, user: &str) -> Verdict {
    let refusal = match Document::read(file) {
        Ok(document) => refusal(document, user),
        Err(error) => Some(error.to_string()),
    };
    Verdict { software: software(), refusal }
}

fn refusal(document: Document, user: &str) -> Option<String> {
    if document.user != user {
        return Some(format!("it is told to serve {user:?}, and this is the runner of {:?}", document.user));
    }
    if document.journal > SCHEMA_VERSION {
        return Some(format!("the journal is at version {}, and it reads versions up to {SCHEMA_VERSION}", document.journal));
    }
    let (oldest, newest) = document.link;
    if newest < LINK_VERSION_MIN || oldest > LINK_VERSION {
        return Some(format!(
            "it speaks versions {LINK_VERSION_MIN} to {LINK_VERSION} of the link, and the server is used to {oldest} to {newest}"
        ));
    }
    for session in document.sessions {
        let session = session.session;
        let Some(mut translator) = translator(&session.harness, session.protocol.as_deref(), StartOptions::default()) else {
            return Some(format!("it does not know the agent {} of session {}", session.harness, session.id));
        };
        if let Err(error) = translator.restore(session.translator) {
            return Some(format!("in session {}: {error}", session.id));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::upgrade::STATE_VERSION;

    fn document() -> Document {
        Document {
            version: STATE_VERSION,
            software: "another".into(),
            binary: "/p".into(),
            user: "alice".into(),
            link: (LINK_VERSION_MIN, LINK_VERSION),
            journal: SCHEMA_VERSION,
            listener: 3,
            socket_lock: 4,
            data_lock: 5,
            sessions: Vec::new(),
        }
    }

    fn refusal_of(document: &Document) -> String {
        examine(document.seal().unwrap().into(), "alice").refusal.unwrap_or_default()
    }

    #[test]
    fn what_this_build_cannot_go_on_with_is_refused_with_a_sentence() {
        let good = document();
        assert_eq!(refusal_of(&good), "");
        assert!(
            refusal_of(&Document { version: STATE_VERSION + 1, ..good.clone() }).contains("of version 2, and this build reads version 1")
        );
        assert!(refusal_of(&Document { journal: SCHEMA_VERSION + 1, ..good.clone() }).contains("the journal is at version"));
        assert!(refusal_of(&Document { link: (LINK_VERSION + 1, LINK_VERSION + 2), ..good.clone() }).contains("of the link"));
        assert!(refusal_of(&Document { user: "bob".into(), ..good.clone() }).contains("the runner of \"bob\""));
        // The next one is asked with the same file once more.
        let sealed = good.seal().unwrap();
        let again = sealed.try_clone().unwrap();
        assert_eq!(examine(sealed.into(), "alice").refusal, None);
        assert_eq!(examine(again.into(), "alice").refusal, None);
        assert!(examine(File::open("/dev/null").unwrap(), "alice").refusal.unwrap().contains("cannot be read"));
    }
}
