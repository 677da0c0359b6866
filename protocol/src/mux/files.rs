//! The `files` channel. Paths are relative to `workspace_path` and never leave it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Default depth of a tree.
pub const TREE_DEPTH: u32 = 6;

fn tree_depth() -> u32 {
    TREE_DEPTH
}

/// Client → server: the operation and the workspace it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct FilesCommand {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub id: Option<String>,
    pub workspace_path: String,
    #[serde(flatten)]
    pub op: FilesOp,
}

/// An operation, tagged on `type`. `content` is base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FilesOp {
    Tree {
        path: String,
        #[serde(default = "tree_depth")]
        depth: u32,
        #[serde(default)]
        include_hidden: bool,
    },
    Read {
        path: String,
    },
    Write {
        path: String,
        content: String,
        #[serde(default)]
        create_parents: bool,
    },
    List {
        path: String,
        #[serde(default)]
        include_hidden: bool,
    },
    Stat {
        path: String,
    },
    Delete {
        path: String,
        #[serde(default)]
        recursive: bool,
    },
    CreateDirectory {
        path: String,
        #[serde(default)]
        create_parents: bool,
    },
    Rename {
        from: String,
        to: String,
    },
    Copy {
        from: String,
        to: String,
        #[serde(default)]
        overwrite: bool,
    },
    Move {
        from: String,
        to: String,
        #[serde(default)]
        overwrite: bool,
    },
    Search {
        query: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        limit: Option<u32>,
    },
    Watch {
        path: String,
    },
    Unwatch {
        path: String,
    },
}

/// File or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum NodeType {
    File,
    Directory,
}

/// A node of a tree. `modified` is Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct TreeEntry {
    pub name: String,
    pub path: String,
    #[serde(rename = "type")]
    pub node_type: NodeType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub modified: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    pub children: Option<Vec<TreeEntry>>,
}

/// A row of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ListEntry {
    pub name: String,
    pub is_dir: bool,
    pub is_symlink: bool,
    #[ts(type = "number")]
    pub size: u64,
    #[ts(type = "number")]
    pub modified_at: i64,
}

/// What `stat` returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct FileStat {
    pub exists: bool,
    pub is_file: bool,
    pub is_dir: bool,
    pub is_symlink: bool,
    #[ts(type = "number")]
    pub size: u64,
    #[ts(type = "number")]
    pub modified_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub created_at: Option<i64>,
    pub mode: u32,
}

/// Server → client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct FilesReply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub id: Option<String>,
    #[serde(flatten)]
    pub result: FilesResult,
}

/// The result of an operation, tagged on `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FilesResult {
    TreeResult {
        path: String,
        entries: Vec<TreeEntry>,
    },
    ReadResult {
        path: String,
        content: String,
        #[ts(type = "number")]
        size: u64,
        truncated: bool,
    },
    WriteResult {
        path: String,
        success: bool,
    },
    ListResult {
        path: String,
        entries: Vec<ListEntry>,
    },
    StatResult {
        path: String,
        stat: FileStat,
    },
    DeleteResult {
        path: String,
        success: bool,
    },
    CreateDirectoryResult {
        path: String,
        success: bool,
    },
    RenameResult {
        from: String,
        to: String,
        success: bool,
    },
    CopyResult {
        from: String,
        to: String,
        success: bool,
    },
    MoveResult {
        from: String,
        to: String,
        success: bool,
    },
    SearchResult {
        query: String,
        paths: Vec<String>,
        truncated: bool,
    },
    WatchResult {
        path: String,
        success: bool,
    },
    UnwatchResult {
        path: String,
        success: bool,
    },
    Changed {
        workspace_path: String,
        paths: Vec<String>,
    },
    Error {
        error: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        code: Option<crate::response::ErrorCode>,
    },
}
