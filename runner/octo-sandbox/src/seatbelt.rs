//! macOS: a Seatbelt profile for `sandbox-exec`, from a plan. A pure function, tested for its text; not tried on a Mac.
//!
//! Seatbelt has no mounts: what bubblewrap hides is denied here, and a bind does not move anything.

use std::{fmt::Write, path::Path};

use crate::{
    message::Plan,
    mounts::{CONFIGURATION, PROTECTED_ALWAYS, PROTECTED_FILES, PROTECTED_IF_PRESENT, SECRETS, TOOL_DIRECTORIES},
    spec::{Network, Profile},
};

/// Part of every macOS.
pub(crate) const SANDBOX_EXEC: &str = "/usr/bin/sandbox-exec";

/// Always writable: scratch space and the devices that programs write to.
const SCRATCH: &[&str] = &["/private/tmp", "/private/var/tmp", "/private/var/folders", "/dev"];

/// The profile's text. Later rules win, so the order is that of the mounts on Linux.
pub(crate) fn profile(plan: &Plan, own: &Path) -> Result<String, String> {
    let mut text = String::from("(version 1)\n(allow default)\n(deny file-write*)\n");
    for path in SCRATCH {
        rule(&mut text, "allow file-write*", Path::new(path))?;
    }
    rule(&mut text, "deny file-read* file-write*", Path::new("/Users"))?;
    rule(&mut text, "allow file-read*", &plan.home)?;
    if plan.profile != Profile::Strict {
        rule(&mut text, "allow file-write*", &plan.home)?;
    }
    rule(&mut text, "allow file-read* file-write*", &plan.workspace)?;
    for name in [".git/hooks", ".octo"] {
        rule(&mut text, "deny file-write*", &plan.workspace.join(name))?;
    }
    protect_home(&mut text, plan)?;
    for path in &plan.read_only {
        rule(&mut text, "allow file-read*", path)?;
        rule(&mut text, "deny file-write*", path)?;
    }
    for path in &plan.read_write {
        rule(&mut text, "allow file-read* file-write*", path)?;
    }
    for path in &plan.masked {
        rule(&mut text, "deny file-read* file-write*", path)?;
    }
    for bind in &plan.binds {
        rule(&mut text, "allow file-read*", &bind.source)?;
        if bind.writable {
            rule(&mut text, "allow file-write*", &bind.source)?;
        }
    }
    rule(&mut text, "allow file-read*", own)?;
    restrict_network(&mut text, plan)?;
    Ok(text)
}

fn protect_home(text: &mut String, plan: &Plan) -> Result<(), String> {
    for name in SECRETS {
        rule(text, "deny file-read* file-write*", &plan.home.join(name))?;
    }
    for name in PROTECTED_ALWAYS.iter().chain(PROTECTED_FILES).chain(PROTECTED_IF_PRESENT) {
        rule(text, "deny file-write*", &plan.home.join(name))?;
    }
    rule(text, "deny file-write*", &plan.home.join("Library/LaunchAgents"))?;
    rule(text, "deny file-read* file-write*", &plan.home.join("Library/Keychains"))?;
    match plan.profile {
        Profile::Strict => rule(text, "deny file-read* file-write*", &plan.home.join(CONFIGURATION)),
        Profile::Minimal => TOOL_DIRECTORIES.iter().try_for_each(|name| rule(text, "deny file-write*", &plan.home.join(name))),
        Profile::Development => Ok(()),
    }
}

fn restrict_network(text: &mut String, plan: &Plan) -> Result<(), String> {
    if plan.network == Network::Open {
        return Ok(());
    }
    text.push_str("(deny network*)\n(allow network* (local ip \"localhost:*\"))\n(allow network-outbound (remote ip \"localhost:*\"))\n");
    if let Some(relay) = &plan.relay {
        let moved = plan.binds.iter().rev().find_map(|bind| Some(bind.source.join(relay.socket.strip_prefix(&bind.target).ok()?)));
        rule(text, "allow network-outbound", moved.as_deref().unwrap_or(&relay.socket))?;
    }
    Ok(())
}

fn rule(text: &mut String, action: &str, path: &Path) -> Result<(), String> {
    let path = path.to_str().ok_or_else(|| format!("{} is not valid UTF-8 and cannot be put into a profile", path.display()))?;
    let quoted = path.replace('\\', "\\\\").replace('"', "\\\"");
    writeln!(text, "({action} (subpath \"{quoted}\"))").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        message::{PlanIsolation, TerminalMode},
        spec::{Bind, LaunchSpec, Relay},
    };

    fn plan(change: impl FnOnce(&mut LaunchSpec)) -> Plan {
        let mut spec = LaunchSpec::new("/bin/sh", "/Users/me/work", "/Users/me");
        change(&mut spec);
        Plan::new(spec, TerminalMode::Detached, PlanIsolation::Seatbelt)
    }

    fn position(text: &str, rule: &str) -> usize {
        text.find(rule).unwrap_or_else(|| panic!("{rule} is missing in\n{text}"))
    }

    #[test]
    fn masks_come_after_the_home_and_binds_after_the_masks() {
        let plan = plan(|spec| {
            spec.masked = vec!["/Users/me/.local/share/octo".into()];
            spec.binds = vec![Bind::read_only("/Users/me/.local/share/octo/agents", "/Users/me/.local/share/octo/agents")];
        });
        let text = profile(&plan, Path::new("/opt/octo-sandbox")).unwrap();
        let home = position(&text, "(allow file-write* (subpath \"/Users/me\"))");
        let secret = position(&text, "(deny file-read* file-write* (subpath \"/Users/me/.ssh\"))");
        let mask = position(&text, "(deny file-read* file-write* (subpath \"/Users/me/.local/share/octo\"))");
        let bind = position(&text, "(allow file-read* (subpath \"/Users/me/.local/share/octo/agents\"))");
        assert!(home < secret && secret < mask && mask < bind);
    }

    #[test]
    fn strict_leaves_the_home_unwritable() {
        let text = profile(&plan(|spec| spec.profile = Profile::Strict), Path::new("/opt/x")).unwrap();
        assert!(!text.contains("(allow file-write* (subpath \"/Users/me\"))"));
        position(&text, "(allow file-read* file-write* (subpath \"/Users/me/work\"))");
        position(&text, "(deny file-read* file-write* (subpath \"/Users/me/.config\"))");
    }

    #[test]
    fn without_network_only_loopback_and_the_relayed_socket_stay() {
        let plan = plan(|spec| {
            spec.network = Network::None;
            spec.binds = vec![Bind::read_only("/Users/me/run/llm", "/run/octo/llm")];
            spec.relay = Some(Relay { socket: "/run/octo/llm/eavs.sock".into() });
        });
        let text = profile(&plan, Path::new("/opt/x")).unwrap();
        assert!(position(&text, "(deny network*)") < position(&text, "(allow network-outbound (subpath \"/Users/me/run/llm/eavs.sock\"))"));
    }

    #[test]
    fn a_path_cannot_end_its_string() {
        let text = profile(&plan(|spec| spec.workspace = "/Users/me/a\") (allow network*) (\"\\".into()), Path::new("/x"));
        assert!(text.unwrap().contains(r#"(subpath "/Users/me/a\") (allow network*) (\"\\")"#));
    }
}
