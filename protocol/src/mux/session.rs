//! The `session` channel: keep-alive, control of the user interface, and A2UI surfaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// Client → server, tagged on `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientSession {
    Pong,
    Ping,
    #[serde(rename = "a2ui_action")]
    A2uiAction {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        id: Option<String>,
        session_id: String,
        surface_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<String>,
        #[ts(type = "unknown")]
        action: Value,
    },
}

/// Server → client, tagged on `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type")]
pub enum ServerSession {
    #[serde(rename = "connected")]
    Connected,
    #[serde(rename = "ping")]
    Ping,
    #[serde(rename = "error")]
    Error {
        error: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        id: Option<String>,
    },
    #[serde(rename = "ui.navigate")]
    Navigate {
        path: String,
        #[serde(default)]
        replace: bool,
    },
    #[serde(rename = "ui.session")]
    Session {
        session_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        mode: Option<String>,
    },
    #[serde(rename = "ui.view")]
    View { view: String },
    #[serde(rename = "ui.palette")]
    Palette { open: bool },
    #[serde(rename = "ui.palette_exec")]
    PaletteExec {
        command: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "unknown")]
        args: Option<Value>,
    },
    #[serde(rename = "ui.spotlight")]
    Spotlight {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        target: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        title: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        description: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        action: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        position: Option<String>,
        active: bool,
    },
    #[serde(rename = "ui.tour")]
    Tour {
        #[ts(type = "unknown[]")]
        steps: Vec<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        start_index: Option<u32>,
        active: bool,
    },
    #[serde(rename = "ui.sidebar")]
    Sidebar {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        collapsed: Option<bool>,
    },
    #[serde(rename = "ui.panel")]
    Panel {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        view: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        collapsed: Option<bool>,
    },
    #[serde(rename = "ui.theme")]
    Theme { theme: String },
    #[serde(rename = "a2ui_surface")]
    A2uiSurface {
        session_id: String,
        surface_id: String,
        #[ts(type = "unknown[]")]
        messages: Vec<Value>,
        blocking: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<String>,
    },
}
