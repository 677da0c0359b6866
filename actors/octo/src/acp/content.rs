//! Content blocks: what a prompt says, as octo takes it; and the parts of a message, as an editor shows them.

use super::rpc::{INVALID_PARAMS, RpcError};
use octo_protocol::Part;
use octo_protocol::message::ImageInput;
use octo_protocol::part::{KnownPart, MediaSource};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A block of a prompt. What is not known is refused by name, not left out.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Block {
    /// Text.
    Text { text: String },
    /// An image, in base64.
    Image { data: String, mime_type: String },
    /// A file that the agent can open.
    ResourceLink { uri: String, name: Option<String> },
    /// A file with what is in it.
    Resource { resource: Resource },
    /// Sound, which no agent of octo takes.
    Audio {},
}

/// What is in an embedded resource.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    uri: String,
    text: Option<String>,
    blob: Option<String>,
    mime_type: Option<String>,
}

/// A prompt as octo takes it.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    /// The text, with resources written out in it.
    pub message: String,
    /// The images.
    pub images: Vec<ImageInput>,
}

impl Said {
    /// Reads the blocks of a prompt.
    ///
    /// # Errors
    /// What octo cannot pass on, by name.
    pub fn of(blocks: Vec<Block>) -> Result<Self, RpcError> {
        let mut said = Self::default();
        for block in blocks {
            match block {
                Block::Text { text } => said.text(&text),
                Block::Image { data, mime_type } => said.images.push(ImageInput { data, media_type: mime_type }),
                Block::ResourceLink { uri, name } => said.text(&mention(&uri, name.as_deref())),
                Block::Resource { resource } => said.resource(resource)?,
                Block::Audio {} => {
                    return Err(RpcError::new(INVALID_PARAMS, "octo takes no audio in a prompt: promptCapabilities.audio is false"));
                }
            }
        }
        Ok(said)
    }

    /// Blocks follow each other as they are written; one that stands for a file begins a new line.
    fn text(&mut self, text: &str) {
        self.message.push_str(text);
    }

    fn resource(&mut self, resource: Resource) -> Result<(), RpcError> {
        let Resource { uri, text, blob, mime_type } = resource;
        match (text, blob, mime_type) {
            (Some(text), ..) => {
                let fence = fence(&text);
                let line = if self.message.is_empty() || self.message.ends_with('\n') { "" } else { "\n" };
                let _ = write!(self.message, "{line}{}\n{fence}\n{text}\n{fence}\n", mention(&uri, None));
                Ok(())
            }
            (None, Some(data), Some(mime_type)) if mime_type.starts_with("image/") => {
                self.images.push(ImageInput { data, media_type: mime_type });
                Ok(())
            }
            _ => {
                let message = format!("octo passes on resources with text, and images; {} is neither: send a resource_link", short(&uri));
                Err(RpcError::new(INVALID_PARAMS, message))
            }
        }
    }
}

/// A fence that does not end within `text`.
fn fence(text: &str) -> String {
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(longest.max(2) + 1)
}

/// As agents are told of a file: its path when it has one.
fn mention(uri: &str, name: Option<&str>) -> String {
    match (file_path(uri), name.filter(|name| !name.is_empty())) {
        (Some(path), _) => path,
        (None, Some(name)) => format!("[{name}]({uri})"),
        (None, None) => uri.to_owned(),
    }
}

fn file_path(uri: &str) -> Option<String> {
    let url = url::Url::parse(uri).ok().filter(|url| url.scheme() == "file")?;
    let path = url.to_file_path().ok()?.display().to_string();
    Some(url.fragment().map_or_else(|| path.clone(), |fragment| format!("{path}#{fragment}")))
}

fn short(uri: &str) -> String {
    format!("{:?}", super::rpc::quoted(uri))
}

/// A text block.
#[must_use]
pub fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// A part that is neither text nor thinking nor about a tool, as a block; `None` when ACP has none for it.
#[must_use]
pub fn block(part: &Part) -> Option<Value> {
    let Part::Known(part) = part else { return None };
    match part {
        KnownPart::Text { text: said, .. } => Some(text(said)),
        KnownPart::Image { source, .. } => Some(media("image", source)),
        KnownPart::Audio { source, .. } => Some(media("audio", source)),
        KnownPart::Video { source, .. } => Some(link(source, "video")),
        KnownPart::Attachment { source, filename, .. } => Some(link(source, filename.as_deref().unwrap_or("attachment"))),
        KnownPart::FileRef { uri, label, .. } => {
            Some(json!({ "type": "resource_link", "uri": uri, "name": label.as_deref().unwrap_or(uri) }))
        }
        KnownPart::Thinking { .. } | KnownPart::ToolCall { .. } | KnownPart::ToolResult { .. } => None,
    }
}

fn media(kind: &str, source: &MediaSource) -> Value {
    match source {
        MediaSource::Base64 { data, mime_type } => json!({ "type": kind, "data": data, "mimeType": mime_type }),
        MediaSource::Url { .. } | MediaSource::AttachmentRef { .. } => link(source, kind),
    }
}

fn link(source: &MediaSource, name: &str) -> Value {
    match source {
        MediaSource::Url { url, mime_type } => json!({ "type": "resource_link", "uri": url, "name": name, "mimeType": mime_type }),
        MediaSource::AttachmentRef { attachment_id, mime_type } => {
            json!({ "type": "resource_link", "uri": format!("octo:attachment/{attachment_id}"), "name": name, "mimeType": mime_type })
        }
        MediaSource::Base64 { mime_type, .. } => text(&format!("[{name}, {mime_type}]")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(blocks: Value) -> Result<Said, RpcError> {
        Said::of(serde_json::from_value(blocks).unwrap())
    }

    #[test]
    fn a_prompt_is_its_text_with_files_named_and_written_out() {
        let said = said(json!([
            {"type": "text", "text": "Look at "},
            {"type": "resource_link", "uri": "file:///work/a%20b.rs#L3", "name": "a b.rs"},
            {"type": "text", "text": " and at"},
            {"type": "resource", "resource": {"uri": "file:///work/x.md", "text": "```\ncode\n```", "mimeType": "text/markdown"}},
            {"type": "resource_link", "uri": "https://example.com/issue", "name": "issue"},
            {"type": "image", "data": "AAAA", "mimeType": "image/png"},
        ]));
        let said = said.unwrap();
        assert_eq!(
            said.message,
            "Look at /work/a b.rs#L3 and at\n/work/x.md\n````\n```\ncode\n```\n````\n[issue](https://example.com/issue)"
        );
        assert_eq!(said.images.len(), 1);
    }

    #[test]
    fn what_cannot_be_passed_on_is_refused_by_name() {
        assert!(said(json!([{"type": "audio", "data": "AA", "mimeType": "audio/wav"}])).unwrap_err().message.contains("audio"));
        let blob = json!([{"type": "resource", "resource": {"uri": "file:///x.bin", "blob": "AA", "mimeType": "application/x"}}]);
        assert!(said(blob).unwrap_err().message.contains("x.bin"));
    }
}
