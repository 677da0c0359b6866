//! `octoctl doctor --bundle FILE`: what somebody needs to help, in one archive, and nothing of anybody's work.
//!
//! It holds versions, the configuration, how everything stands, actors and what the troubled ones said of themselves, metrics, the ends of logs, the
//! journals' checks, and facts of the machine. Sessions' titles, events and messages are never asked for. Every text goes through the one [`Scrub`] before
//! it is written: what looks like a secret or an e-mail address becomes a name that is the same all over the bundle. The file is new, and its owner's alone.

mod archive;
mod configuration;
mod gather;
mod machine;
mod scrub;

use octo_protocol::admin::Component;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::show;

pub use archive::Archive;
use scrub::Scrub;

/// What a bundle could not have, and why.
#[derive(Debug, serde::Serialize)]
struct Missing {
    part: String,
    reason: String,
}

/// What goes into a bundle, as it is gathered.
struct Bundle {
    archive: Archive,
    scrub: Scrub,
    missing: Vec<Missing>,
    /// Keys of the configuration whose values are left out.
    masked: Vec<String>,
}

impl Bundle {
    /// Adds a text, scrubbed.
    fn text(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let scrubbed = self.scrub.text(text);
        self.archive.add(name, scrubbed.as_bytes())
    }

    /// Adds a value as JSON; its texts are scrubbed, and members that hold somebody's words are left out.
    fn json(&mut self, name: &str, value: &impl serde::Serialize) -> Result<(), Failure> {
        let value = serde_json::to_value(value).map_err(|error| Failure::other(error.to_string()))?;
        let scrubbed = self.scrub.json(value);
        let text = serde_json::to_string_pretty(&scrubbed).unwrap_or_default() + "\n";
        self.archive.add(name, text.as_bytes())
    }

    fn missing(&mut self, part: &str, reason: impl Into<String>) {
        let reason = self.scrub.text(&reason.into());
        self.missing.push(Missing { part: part.to_owned(), reason });
    }
}

/// Gathers everything into `archive`. `found` is what the doctor found; `down` that octo does not answer, so that there is less.
///
/// # Errors
/// When the file cannot be written; and `Down` when it is written, with what there was without octo.
pub async fn write(place: &Place, output: Output, archive: Archive, found: &[Component], down: Option<Exit>) -> Result<(), Failure> {
    let mut bundle = Bundle { archive, scrub: Scrub::default(), missing: Vec::new(), masked: Vec::new() };
    let written = gather::all(&mut bundle, place, found, down.is_none()).await.and_then(|()| {
        let readme = readme(&bundle);
        bundle.archive.add("README.txt", readme.as_bytes())
    });
    let Bundle { archive, scrub, missing, masked } = bundle;
    let file = archive.path().to_owned();
    // Half a bundle is no bundle.
    let finished = archive.finish();
    let (parts, bytes) = written.and(finished).inspect_err(|_| drop(std::fs::remove_file(&file)))?;
    let mut lines = vec![format!(
        "{} with {} written to {}; only you can read it. Look into it before you send it to somebody",
        show::bytes(bytes),
        show::plural(parts.len() as u64, "part"),
        file.display()
    )];
    let replaced = scrub.replaced();
    lines.push(format!("  left out: {}, and {} that looked like secrets or addresses", keys(&masked), show::plural(replaced, "text")));
    lines.extend(missing.iter().map(|missing| format!("  missing: {} ({})", missing.part, missing.reason)));
    output.say(
        &lines.join("\n"),
        &json!({ "file": file, "bytes": bytes, "parts": parts, "masked": masked, "replaced": replaced, "missing": missing }),
    );
    down.map_or(Ok(()), |exit| Err(Failure::new(exit, "octo does not answer; the bundle has what there is without it")))
}

fn keys(masked: &[String]) -> String {
    if masked.is_empty() { "no key of the configuration".to_owned() } else { format!("the values of {}", masked.join(", ")) }
}

fn readme(bundle: &Bundle) -> String {
    let mut text = format!(
        "A bundle of octoctl {} for somebody who helps.\n\n\
         It holds no prompts, messages, files of workspaces, titles of sessions, passwords, tokens, keys or e-mail addresses.\n\
         What looked like one is replaced by a name such as [secret 3f2a9c01]: the same name is the same text, all over the bundle.\n\
         Lines of logs that octo did not write itself are left out.\n\n\
         Keys of the configuration whose values are left out:\n",
        env!("CARGO_PKG_VERSION")
    );
    for key in &bundle.masked {
        text.push_str(&format!("  {key}\n"));
    }
    if bundle.masked.is_empty() {
        text.push_str("  none\n");
    }
    text.push_str("\nMissing:\n");
    for Missing { part, reason } in &bundle.missing {
        text.push_str(&format!("  {part}: {reason}\n"));
    }
    if bundle.missing.is_empty() {
        text.push_str("  nothing\n");
    }
    text
}
