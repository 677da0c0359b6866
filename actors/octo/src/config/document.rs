//! Documents made from the table: `docs/configuration.md` and the example file.

use std::fmt::Write;

use super::key::{Capability, Default, Key, Kind};
use super::table;

/// `docs/configuration.md`.
#[must_use]
pub fn configuration_md() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Made from the table of keys in actors/octo/src/config/keys; `OCTO_UPDATE=1 ./test.sh` writes it anew. -->\n\n\
         octo reads `$XDG_CONFIG_HOME/octo/config.toml` (`~/.config/octo/config.toml`), or the file of `--config`. It may be absent. A value \
         comes from the default, the file, the environment variable `OCTO__SECTION__KEY` (lists with commas) or a flag; later ones win. \
         `octo config show` says which. Unknown keys stop the start, and the message names the key that was probably meant. A secret is \
         a text or `env:NAME`, and is never shown.\n\n\
         Keys marked **not built yet** are known, so that an existing file still loads; a start with one of them set says so by name.\n",
    );
    for section in table::sections() {
        let title = if section.name.is_empty() { "Top of the file".to_owned() } else { format!("`[{}]`", section.name) };
        let _ = write!(out, "\n## {title}\n\n{}\n\n| key | takes | default | |\n|---|---|---|---|\n", section.doc);
        for key in section.keys {
            let default = match key.default {
                Default::None => "not set".to_owned(),
                Default::Derived(how) => how.to_owned(),
                _ => format!("`{}`", key.default_text()),
            };
            let state = match key.capability {
                Capability::Built => String::new(),
                Capability::NotBuilt(sentence) => format!("**Not built yet:** {sentence}."),
            };
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} {} |",
                short(section.name, key),
                cell(&key.takes()),
                cell(&default),
                cell(key.doc),
                cell(&state)
            );
        }
    }
    out
}

/// `docs/examples/config.toml`: what is built, with its defaults, ready to be changed.
#[must_use]
pub fn example_toml() -> String {
    let mut out = String::from(
        "# octo's configuration. Everything is optional; a line with # shows the default, or an example.\n# All keys: docs/configuration.md, `octo config keys`.\n",
    );
    for section in table::sections() {
        let built: Vec<&Key> = section.keys.iter().filter(|key| key.capability == Capability::Built).collect();
        if built.is_empty() {
            continue;
        }
        if section.name == "providers.NAME" {
            out.push_str(PROVIDERS);
            continue;
        }
        if section.name == "harness.NAME" {
            out.push_str(HARNESSES);
            continue;
        }
        if !section.name.is_empty() {
            let _ = write!(out, "\n[{}]\n", section.name);
        }
        for key in built {
            let _ = writeln!(out, "# {}", key.doc);
            match example(key) {
                (true, value) => drop(writeln!(out, "{} = {value}", short(section.name, key))),
                (false, value) => drop(writeln!(out, "# {} = {value}", short(section.name, key))),
            }
        }
    }
    out
}

const PROVIDERS: &str = r#"
# Where models come from. Keys stay in octo-eavs; agents never see them. Without any provider, octo demonstrates itself.
# [providers.anthropic]
# api = "anthropic-messages"
# base_url = "https://api.anthropic.com"
# api_key = "env:ANTHROPIC_API_KEY"
# models = [{ id = "claude-sonnet-4-5", reasoning = true, input = ["text", "image"], context_window = 200000, max_tokens = 64000 }]
#
# A local server needs no key:
# [providers.ollama]
# api = "openai-completions"
# base_url = "http://127.0.0.1:11434"
# models = [{ id = "qwen3:8b", context_window = 40960, max_tokens = 8192 }]
"#;

const HARNESSES: &str = r#"
# The agents. pi and claude are there by themselves; a table of their name changes them, one of another name adds an agent.
# [harness.claude]
# models = ["anthropic/claude-*"]
# permissions = "ask"
#
# [harness.pi-next]
# label = "pi (next)"
# protocol = "pi-rpc"
# command = "/opt/pi/bin/pi"
# env = { SOME_TOKEN = "env:SOME_TOKEN" }
"#;

/// Whether the line stands as it is, and its value.
fn example(key: &Key) -> (bool, String) {
    match (key.default, key.kind) {
        (Default::Bool(_) | Default::Integer(_) | Default::Number(_) | Default::Text(_) | Default::List(_), _) => {
            (true, key.default_text())
        }
        (_, Kind::Integer(low, _)) => (false, low.max(60).to_string()),
        (_, Kind::Number(_)) => (false, "5.0".to_owned()),
        (_, Kind::Path) => (false, "\"~/somewhere/else\"".to_owned()),
        (_, Kind::Choice(words)) => (false, format!("{:?}", words.get(1).or(words.first()).copied().unwrap_or_default())),
        _ if key.secret => (false, "\"env:NAME\"".to_owned()),
        _ => (false, "\"…\"".to_owned()),
    }
}

/// The key below its section; a name of the operator's choice is `NAME`.
fn short(section: &str, key: &Key) -> String {
    let section = section.replace("NAME", "*");
    key.path.strip_prefix(&section).map_or(key.path, |rest| rest.trim_start_matches('.')).replace('*', "NAME")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}
