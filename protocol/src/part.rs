//! The parts of a message. Multi-word fields of a part are camelCase on the wire; existing clients depend on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// How far a tool call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    Pending,
    Running,
    Success,
    Error,
}

/// A range of lines, 1-based and inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "camelCase")]
pub struct LineRange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub start_line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub end_line: Option<u32>,
}

/// Where media comes from; flattened into its part and tagged on `source`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "source", rename_all_fields = "camelCase")]
pub enum MediaSource {
    #[serde(rename = "url")]
    Url {
        url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        mime_type: Option<String>,
    },
    #[serde(rename = "attachmentRef")]
    AttachmentRef {
        attachment_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        mime_type: Option<String>,
    },
    #[serde(rename = "base64")]
    Base64 { data: String, mime_type: String },
}

/// One part of a message that octo knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum KnownPart {
    Text {
        id: String,
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        format: Option<String>,
    },
    Thinking {
        id: String,
        text: String,
    },
    ToolCall {
        id: String,
        tool_call_id: String,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "unknown")]
        input: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        status: Option<ToolStatus>,
    },
    ToolResult {
        id: String,
        tool_call_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "unknown")]
        output: Option<Value>,
        is_error: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        duration_ms: Option<u64>,
    },
    FileRef {
        id: String,
        uri: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        label: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        range: Option<LineRange>,
    },
    Image {
        id: String,
        #[serde(flatten)]
        source: MediaSource,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        alt: Option<String>,
    },
    Audio {
        id: String,
        #[serde(flatten)]
        source: MediaSource,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        duration_sec: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        transcript: Option<String>,
    },
    Video {
        id: String,
        #[serde(flatten)]
        source: MediaSource,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        duration_sec: Option<f64>,
    },
    Attachment {
        id: String,
        #[serde(flatten)]
        source: MediaSource,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        filename: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        size_bytes: Option<u64>,
    },
}

/// A part of another origin, `x-…`: kept untouched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ExtensionPart {
    /// Begins with `x-`.
    #[serde(rename = "type")]
    #[ts(type = "`x-${string}`")]
    pub kind: String,
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[ts(optional, type = "unknown")]
    pub payload: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[ts(optional, type = "unknown")]
    pub meta: Option<Value>,
}

/// A member that is there, `null` included: "untouched" means that `null` does not become absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// One part of a message, tagged on `type`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema, TS)]
#[serde(untagged)]
pub enum Part {
    Known(KnownPart),
    Extension(ExtensionPart),
}

impl Part {
    /// A text part.
    #[must_use]
    pub fn text(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Known(KnownPart::Text { id: id.into(), text: text.into(), format: None })
    }
}

impl From<KnownPart> for Part {
    fn from(part: KnownPart) -> Self {
        Self::Known(part)
    }
}

// By hand, so that an error in a known part names its field instead of "did not match any variant".
impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = Value::deserialize(deserializer)?;
        let kind = value.get("type").and_then(Value::as_str).ok_or_else(|| D::Error::custom("a part needs a `type`"))?;
        if kind.starts_with("x-") {
            ExtensionPart::deserialize(value).map(Self::Extension).map_err(D::Error::custom)
        } else {
            KnownPart::deserialize(value).map(Self::Known).map_err(D::Error::custom)
        }
    }
}
