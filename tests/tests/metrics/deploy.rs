//! `deploy/prometheus`: every metric, label and limit that is named there is one that octo tells, and every command of a runbook exists. That octo
//! tells what is in the table is held beside this.

use octo_e2e::{Instance, Options, repository};
use octo_protocol::metrics::{Limit, METRICS, Metric, MetricKind};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;
use std::collections::BTreeSet;

fn read(name: &str) -> String {
    let path = repository().join("deploy/prometheus").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The one document in a file.
fn yaml(text: &str) -> Yaml<'_> {
    let mut documents = Yaml::load_from_str(text).unwrap();
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn text<'a>(node: &'a Yaml<'_>, key: &str) -> &'a str {
    node.as_mapping_get(key).and_then(Yaml::as_str).unwrap_or_else(|| panic!("{key} is missing in {node:?}"))
}

fn list<'a>(node: &'a Yaml<'a>, key: &str) -> &'a [Yaml<'a>] {
    node.as_mapping_get(key).and_then(Yaml::as_sequence).unwrap_or_else(|| panic!("{key} is missing"))
}

/// Every expression of the dashboard, those of its variables and annotations included.
fn of_dashboard(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if key == "expr" || key == "definition" => found.push(text.clone()),
                    other => of_dashboard(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| of_dashboard(item, found)),
        _ => {}
    }
}

/// The metrics that an expression names, and what it asks of their labels: (label, value) of each matcher.
fn named(expression: &str) -> (Vec<&'static Metric>, Vec<(String, String)>) {
    let (mut metrics, mut matchers) = (Vec::new(), Vec::new());
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for name in expression.split(|c| !word(c)).filter(|name| name.starts_with("octo_")) {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let histogram = |metric: &&Metric| Some(metric.name) == base && matches!(metric.kind, MetricKind::Histogram(_));
        let found = METRICS.iter().find(|metric| metric.name == name).or_else(|| METRICS.iter().find(histogram));
        metrics.push(found.unwrap_or_else(|| panic!("{name} is no metric of octo: {expression}")));
    }
    for inside in expression.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        for matcher in inside.split(',').filter(|matcher| matcher.contains('"')) {
            let (label, value) = matcher.split_once(['=', '!']).unwrap();
            matchers.push((label.trim().to_owned(), value.trim_matches(['=', '~', '"', '!']).to_owned()));
        }
    }
    (metrics, matchers)
}

/// Whether an expression asks for what can be.
fn holds(expression: &str) {
    let (metrics, matchers) = named(expression);
    let labels: BTreeSet<&str> = metrics.iter().flat_map(|metric| metric.shown_labels()).chain(["le", "job", "instance"]).collect();
    for (label, value) in &matchers {
        assert!(labels.contains(label.as_str()), "{label} is no label of what is named in {expression}");
        if label == "limit" {
            for name in value.split('|') {
                assert!(Limit::ALL.iter().any(|limit| limit.name() == name), "{name} is no limit: {expression}");
            }
        }
    }
    for by in expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next()) {
        for label in by.split(',').map(str::trim) {
            assert!(labels.contains(label), "{label} is no label of what is named in {expression}");
        }
    }
}

#[test]
fn the_dashboard_can_be_imported_and_shows_what_there_is() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource", "whoever imports it chooses the Prometheus");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has its own id");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with(['.', '`'])), "{} says what it shows", panel["title"]);
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{}", panel["title"]);
    }
    let mut expressions = Vec::new();
    of_dashboard(&dashboard, &mut expressions);
    assert!(expressions.len() > 40, "{}", expressions.len());
    expressions.iter().for_each(|expression| holds(expression));
    let shown: BTreeSet<&str> = expressions.iter().flat_map(|expression| named(expression).0).map(|metric| metric.name).collect();
    assert!(shown.len() > METRICS.len() / 2, "most of what is told is shown: {shown:?}");
}

#[test]
fn every_alert_asks_for_what_there_is_and_says_what_to_do() {
    let source = read("alerts.yml");
    let rules = yaml(&source);
    let alerts: Vec<&Yaml<'_>> = list(&rules, "groups").iter().flat_map(|group| list(group, "rules")).collect();
    assert!(alerts.len() >= 15);
    let mut names = BTreeSet::new();
    for alert in alerts {
        let name = text(alert, "alert");
        assert!(names.insert(name), "{name} is there twice");
        let expression = text(alert, "expr");
        holds(expression);
        let severity = text(alert.as_mapping_get("labels").unwrap(), "severity");
        assert!(["page", "warning", "info"].contains(&severity), "{name}: {severity}");
        let annotations = alert.as_mapping_get("annotations").unwrap();
        let (metrics, _) = named(expression);
        let labels: BTreeSet<&str> = metrics.iter().flat_map(|metric| metric.shown_labels()).chain(["instance", "job"]).collect();
        for key in ["summary", "description", "runbook"] {
            let sentence = text(annotations, key);
            assert!(sentence.len() > 20 && !sentence.contains('\n'), "{name}: {key}");
            for label in sentence.split("$labels.").skip(1).map(|rest| rest.split([' ', '}']).next().unwrap()) {
                assert!(labels.contains(label), "{name}: {key} names the label {label}");
            }
        }
    }
}

#[test]
fn every_command_of_a_runbook_exists() {
    let source = read("alerts.yml") + &read("dashboard.json");
    let instance = Instance::new(Options::scripted());
    let mut tried = BTreeSet::new();
    for command in source.split("`octoctl ").skip(1).filter_map(|rest| rest.split('`').next()) {
        // Its nouns and verbs, and its flags; whatever stands for a name is a name.
        let words: Vec<&str> = command.split_whitespace().collect();
        let flags: Vec<&str> = words.iter().filter(|word| word.starts_with('-')).copied().collect();
        let verbs: Vec<&str> = words.iter().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).copied().collect();
        if !tried.insert((verbs.clone(), flags.clone())) {
            continue;
        }
        let output = instance.command("octoctl").args(&verbs).arg("--help").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "octoctl {command}: there is no such command");
        assert!(flags.iter().all(|flag| help.contains(flag)), "octoctl {command}: it does not take {flags:?}");
    }
    assert!(tried.len() >= 8, "{tried:?}");
}

#[test]
fn the_scrape_configuration_reads_octo_under_the_name_that_the_rules_look_for() {
    let source = read("scrape.yml");
    let config = yaml(&source);
    let job = &list(&config, "scrape_configs")[0];
    assert_eq!((text(job, "job_name"), text(job, "metrics_path")), ("octo", "/metrics"));
    assert!(text(job.as_mapping_get("authorization").unwrap(), "credentials_file").starts_with('/'));
    assert!(read("alerts.yml").contains("up{job=\"octo\"}"));
    assert_eq!(list(&config, "rule_files")[0].as_str(), Some("alerts.yml"));
}
