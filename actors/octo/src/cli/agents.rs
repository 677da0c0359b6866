//! `octo agents`: which there are, installing them, and whether they can work.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use octo::agents::{self, Asked, Known, MIN_NODE, Pinned, Progress};
use octo::auth::UserId;
use octo::config::{HarnessSettings, Overrides, Settings};
use octo::eavs::{Catalog, EavsClient};
use octo::launch::Launch;
use serde_json::{Value, json};

use super::arguments::AgentsCommand;
use super::exit::Failure;
use super::output::{Mark, Output};

pub fn run(command: AgentsCommand, file: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let settings = Arc::new(super::load(file, Overrides::default())?.settings()?);
    match command {
        AgentsCommand::List => {
            list(&settings, output);
            Ok(())
        }
        AgentsCommand::Install { names, from } => install(&settings, &names, from.as_deref(), output),
        AgentsCommand::Doctor { names, no_start } => doctor(&settings, &names, !no_start, output),
    }
}

fn list(settings: &Settings, output: Output) {
    let known = agents::known(settings);
    let mut lines = vec![["NAME", "LABEL", "PROTOCOL", "VERSION", "TESTED", "STATE", "WHERE"].map(str::to_owned)];
    for agent in &known {
        let harness = &agent.harness;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        lines.push([
            harness.name.clone(),
            harness.label.clone(),
            harness.protocol.as_str().to_owned(),
            or_dash(agent.version.clone()),
            or_dash(agent.pinned.clone()),
            state(agent).to_owned(),
            agent.program.as_ref().map_or_else(|| agent.how_to_get(), |program| program.display().to_string()),
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let shown = lines.iter().map(|line| {
        let cells = line.iter().enumerate().map(|(at, cell)| format!("{cell:width$}", width = widths.get(at).copied().unwrap_or(0)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    let rows: Vec<Value> = known.iter().map(row).collect();
    output.say(&shown.collect::<Vec<_>>().join("\n"), &json!({ "prefix": settings.paths.agents_dir, "agents": rows }));
}

fn state(agent: &Known) -> &'static str {
    match (agent.harness.enabled, &agent.program) {
        (false, _) => "off",
        (true, Some(_)) => "installed",
        (true, None) => "missing",
    }
}

fn row(agent: &Known) -> Value {
    let harness = &agent.harness;
    json!({
        "name": harness.name, "label": harness.label, "protocol": harness.protocol.as_str(), "enabled": harness.enabled,
        "version": agent.version, "tested": agent.pinned, "program": agent.program,
        "how_to_get": agent.program.is_none().then(|| agent.how_to_get()),
    })
}

fn install(settings: &Settings, names: &[String], from: Option<&Path>, output: Output) -> Result<(), Failure> {
    let failure = |error: agents::InstallError| {
        if error.is_unavailable() { Failure::unavailable(error.to_string()) } else { Failure::other(error.to_string()) }
    };
    let pinned = match from {
        Some(directory) => Pinned::from_directory(directory).map_err(|error| Failure::other(error.to_string()))?,
        None => Pinned::embedded(),
    };
    let mut said = 0;
    let tell = |progress: Progress| match progress {
        Progress::Begins(agents, into) => {
            output.progress(&format!("installing {} into {}", sentence(&agents), into.display()));
            if output.is_watched() {
                output.progress("\n");
            }
        }
        // On a terminal every package, elsewhere every quarter.
        Progress::Fetched(packages, of) if output.is_watched() || packages * 4 / of.max(1) > said => {
            said = packages * 4 / of.max(1);
            output.progress(&format!("  {packages} of {of} packages"));
        }
        Progress::Fetched(..) => {}
    };
    let done = super::runtime()?.block_on(agents::install(settings, &pinned, names, tell));
    output.progress_over();
    let done = done.map_err(failure)?;
    let prefix = settings.paths.agents_dir.display();
    let agents = sentence(&done.agents);
    let text = if done.already {
        format!("{agents}: installed already in {prefix}")
    } else {
        format!("{agents}: installed in {prefix}; sessions get it when their agent starts next")
    };
    let rows: Vec<Value> = done.agents.iter().map(|(name, version)| json!({ "name": name, "version": version })).collect();
    output.say(&text, &json!({ "prefix": settings.paths.agents_dir, "agents": rows, "already": done.already, "removed": done.removed }));
    Ok(())
}

fn sentence(agents: &[(String, String)]) -> String {
    agents.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
}

/// One thing that was looked at.
struct Check {
    mark: Mark,
    what: &'static str,
    found: String,
    hint: Option<String>,
}

impl Check {
    fn new(mark: Mark, what: &'static str, found: impl Into<String>, hint: Option<String>) -> Self {
        Self { mark, what, found: found.into(), hint }
    }
}

fn doctor(settings: &Arc<Settings>, names: &[String], start: bool, output: Output) -> Result<(), Failure> {
    for name in names {
        if settings.harnesses.find(name).is_none() {
            let known: Vec<&str> = settings.harnesses.iter().map(|harness| harness.name.as_str()).collect();
            return Err(Failure::other(format!("octo does not know the agent {name:?}; it knows: {}", known.join(", "))));
        }
    }
    let named = |harness: &HarnessSettings| names.iter().any(|name| octo::config::canonical_harness(name) == harness.name);
    let known = agents::known(settings);
    let looked: Vec<_> =
        known.iter().filter(|agent| if names.is_empty() { agent.harness.enabled } else { named(&agent.harness) }).collect();
    let (mut text, mut rows, mut bad) = (String::new(), Vec::new(), 0);
    super::runtime()?.block_on(async {
        let catalog = EavsClient::catalog_of_running(settings).await.map_err(|error| error.to_string());
        for agent in looked {
            let checks = checks(settings, agent, &catalog, start, output).await;
            text.push_str(&format!("{} ({})\n", agent.harness.name, agent.harness.label));
            for check in &checks {
                text.push_str(&format!("{} {:<10} {}\n", output.mark(check.mark), check.what, check.found));
                if let Some(hint) = &check.hint {
                    text.push_str(&format!("  {:<10} → {hint}\n", ""));
                }
            }
            bad += usize::from(checks.iter().any(|check| check.mark == Mark::Bad));
            let mark = |mark| match mark {
                Mark::Good => "ok",
                Mark::Careful => "note",
                Mark::Bad => "bad",
            };
            let checks = checks.iter().map(|c| json!({ "check": c.what, "state": mark(c.mark), "found": c.found, "hint": c.hint }));
            rows.push(json!({ "name": agent.harness.name, "checks": checks.collect::<Vec<_>>() }));
        }
    });
    output.progress_over();
    output.say(text.trim_end(), &json!({ "agents": rows }));
    match bad {
        0 => Ok(()),
        1 => Err(Failure::other("one agent cannot work; the lines above say what to do")),
        n => Err(Failure::other(format!("{n} agents cannot work; the lines above say what to do"))),
    }
}

async fn checks(
    settings: &Arc<Settings>,
    agent: &Known,
    catalog: &Result<Option<Catalog>, String>,
    start: bool,
    output: Output,
) -> Vec<Check> {
    let harness = &agent.harness;
    let mut checks = Vec::new();
    if !harness.enabled {
        let hint = format!("new sessions do not get it: {}.enabled = false", harness.name);
        checks.push(Check::new(Mark::Careful, "offered", "no", Some(hint)));
    }
    let Some(program) = &agent.program else {
        checks.push(Check::new(Mark::Bad, "program", "not found", Some(agent.how_to_get())));
        return checks;
    };
    checks.push(Check::new(Mark::Good, "program", program.display().to_string(), None));
    if harness.is_bridged() {
        checks.push(Check::new(Mark::Good, "bridge", harness.url.clone().unwrap_or_default(), None));
        if start {
            output.progress(&format!("connecting to {} …", harness.label));
            checks.push(handshake(settings, harness, catalog).await);
        }
        return checks;
    }
    checks.push(match (&agent.version, agent.version_note()) {
        (Some(version), None) => Check::new(Mark::Good, "version", version.clone(), None),
        (Some(version), Some(note)) => Check::new(Mark::Careful, "version", version.clone(), Some(note)),
        (None, _) => Check::new(Mark::Careful, "version", "not known", Some("its program belongs to no package that says one".to_owned())),
    });
    checks.push(node(settings));
    checks.push(providers(harness, catalog));
    if start {
        output.progress(&format!("starting {} …", harness.label));
        checks.push(handshake(settings, harness, catalog).await);
    }
    checks
}

fn node(settings: &Settings) -> Check {
    let Some(node) = agents::node(settings) else {
        let hint = "agents that are written for Node do not start: `octo agents install` brings one".to_owned();
        return Check::new(Mark::Careful, "node", "not found", Some(hint));
    };
    let place = node.display();
    let Some(version) = agents::node_version(&node) else {
        return Check::new(
            Mark::Careful,
            "node",
            format!("{place}, of which version is not known"),
            Some(format!("agents need {MIN_NODE} or newer")),
        );
    };
    let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
    if major.is_some_and(|major| major >= MIN_NODE) {
        return Check::new(Mark::Good, "node", format!("{version}, {place}"), None);
    }
    let hint = format!("agents need {MIN_NODE} or newer: `octo agents install` brings one");
    Check::new(Mark::Careful, "node", format!("{version}, {place}"), Some(hint))
}

fn providers(harness: &HarnessSettings, catalog: &Result<Option<Catalog>, String>) -> Check {
    let what = "providers";
    let catalog = match catalog {
        Ok(Some(catalog)) => catalog,
        Ok(None) => {
            return Check::new(Mark::Careful, what, "octo-eavs does not run", Some("`octo serve` starts it; look again then".to_owned()));
        }
        Err(error) => return Check::new(Mark::Bad, what, error.clone(), Some("see the log of octo-eavs".to_owned())),
    };
    let speaks = |api: &str| harness.protocol.api().is_none_or(|dialect| dialect == api);
    let offered = catalog.offered(harness);
    let fit: Vec<_> = offered.0.iter().filter(|provider| speaks(&provider.api) && !provider.models.is_empty()).collect();
    let usable: Vec<&str> = fit.iter().filter(|provider| provider.is_usable()).map(|provider| provider.name.as_str()).collect();
    let keys = fit.iter().filter_map(|provider| Some(format!("set {} for {}", provider.missing_env.as_ref()?, provider.name)));
    let mut hints: Vec<String> = keys.collect();
    if fit.is_empty() {
        let dialect = harness.protocol.api().map(|api| format!(" that speaks {api}")).unwrap_or_default();
        hints.push(format!("write a [providers.NAME]{dialect}, or widen harness.{}.models", harness.name));
    }
    let hint = (!hints.is_empty()).then(|| hints.join("; "));
    match (usable.as_slice(), fit.iter().any(|provider| provider.is_usable() && !provider.demo)) {
        ([], _) => Check::new(Mark::Bad, what, "none that it can use", hint),
        (names, true) => Check::new(Mark::Good, what, names.join(", "), hint),
        (names, false) => {
            let hint = hint.unwrap_or_else(|| "only the demonstration: write a [providers.NAME], or set ANTHROPIC_API_KEY".to_owned());
            Check::new(Mark::Careful, what, names.join(", "), Some(hint))
        }
    }
}

async fn handshake(settings: &Arc<Settings>, harness: &HarnessSettings, catalog: &Result<Option<Catalog>, String>) -> Check {
    let what = "starts";
    let Ok(user) = UserId::new("admin") else { return Check::new(Mark::Bad, what, "no user", None) };
    let folder = settings.sessions.default_workspace(&user);
    let home = settings.home().map(Path::to_owned).unwrap_or_else(std::env::temp_dir);
    let cwd = if folder.is_dir() { folder } else { home };
    let launch = Launch::new(Arc::clone(settings));
    let catalog = catalog.as_ref().ok().and_then(Option::as_ref);
    match agents::ask(&launch, &user, harness, catalog, &cwd).await {
        Asked::Answered(_) => Check::new(Mark::Good, what, "in its sandbox, and answers", None),
        Asked::Failed(why) => Check::new(Mark::Bad, what, why, Some("a session would fail in the same way".to_owned())),
    }
}
