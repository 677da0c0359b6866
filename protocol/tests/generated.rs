//! What is derived from the types stands in the repository: TypeScript for the web application (`web/src/protocol`) and a JSON
//! Schema (`docs/protocol.schema.json`). `OCTO_UPDATE=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_protocol::mux::{ClientFrame, ServerFrame};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use ts_rs::TS;

/// Every generated TypeScript file: name → text.
fn typescript(scratch: &Path) -> BTreeMap<String, String> {
    let config = ts_rs::Config::new().with_out_dir(scratch).with_large_int("number");
    ClientFrame::export_all(&config).unwrap();
    ServerFrame::export_all(&config).unwrap();
    octo_protocol::session::SessionOpened::export_all(&config).unwrap();
    octo_protocol::session::SessionList::export_all(&config).unwrap();
    octo_protocol::session::SessionStats::export_all(&config).unwrap();
    octo_protocol::session::SlashCommand::export_all(&config).unwrap();
    octo_protocol::session::ForkPoint::export_all(&config).unwrap();
    octo_protocol::session::Forked::export_all(&config).unwrap();
    octo_protocol::session::Aborted::export_all(&config).unwrap();
    octo_protocol::session::MessagePage::export_all(&config).unwrap();
    octo_protocol::permission::Permissions::export_all(&config).unwrap();
    octo_protocol::history::ChatSession::export_all(&config).unwrap();
    octo_protocol::history::ChatMessage::export_all(&config).unwrap();
    octo_protocol::history::SearchHit::export_all(&config).unwrap();
    octo_protocol::history::Removed::export_all(&config).unwrap();
    octo_protocol::admin::Inspection::export_all(&config).unwrap();
    octo_protocol::admin::TraceLine::export_all(&config).unwrap();
    octo_protocol::admin::PathLine::export_all(&config).unwrap();
    let mut files = BTreeMap::new();
    collect(scratch, scratch, &mut files).unwrap();
    let index: String = files.keys().map(|name| format!("export * from \"./{}\";\n", name.trim_end_matches(".ts"))).collect();
    files.insert("index.ts".to_owned(), format!("// Generated from the Rust types in protocol/. Do not edit.\n{index}"));
    files
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<String, String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.insert(name.to_string_lossy().into_owned(), std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The JSON Schema of the mux frames, pretty-printed, with a final newline.
fn json_schema() -> String {
    #[derive(schemars::JsonSchema)]
    #[allow(dead_code)]
    struct Mux {
        /// Client → server.
        client: ClientFrame,
        /// Server → client.
        server: ServerFrame,
    }
    let schema = schemars::schema_for!(Mux);
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn update() -> bool {
    std::env::var_os("OCTO_UPDATE").is_some()
}

#[test]
fn the_typescript_types_of_the_web_application_are_those_of_the_code() {
    let scratch = std::env::temp_dir().join(format!("octo-ts-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let wanted = typescript(&scratch);
    std::fs::remove_dir_all(&scratch).unwrap();
    let dir = repository().join("web/src/protocol");
    if update() {
        let _ = std::fs::remove_dir_all(&dir);
        for (name, text) in &wanted {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
    let mut present = BTreeMap::new();
    collect(&dir, &dir, &mut present).unwrap();
    let stale: Vec<_> = present.keys().filter(|name| !wanted.contains_key(*name)).collect();
    let drifted: Vec<_> = wanted.iter().filter(|(name, text)| present.get(*name) != Some(*text)).map(|(name, _)| name).collect();
    assert!(
        stale.is_empty() && drifted.is_empty(),
        "web/src/protocol has drifted: run `OCTO_UPDATE=1 cargo test -p octo-protocol --test generated`; stale {stale:?}, drifted {drifted:?}"
    );
}

#[test]
fn the_json_schema_is_that_of_the_code() {
    let path = repository().join("docs/protocol.schema.json");
    let wanted = json_schema();
    if update() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(present == wanted, "docs/protocol.schema.json has drifted: run `OCTO_UPDATE=1 cargo test -p octo-protocol --test generated`");
}
