//! The page of metrics after real work, and all that is built on it: documents, dashboard, alert rules.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::program::Program;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Names of metrics in any text: words with one of the two beginnings.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_name = |word: &&str| word.starts_with("diarist_") || word.starts_with("process_");
    words.filter(is_name).map(str::to_owned).collect()
}

/// The page's series by name, as Prometheus stores them.
fn series(page: &str) -> BTreeSet<String> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// The sum over all series of this name.
fn sum(page: &str, name: &str) -> f64 {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with(['{', ' '])).then(|| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    });
    values.sum()
}

/// Every expression of the dashboard.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_was_done_is_counted_and_all_that_is_built_on_it_finds_its_numbers() {
    let program = Program::start(&[]);
    let fresh = program.get("/metrics").1;
    program.transcribe("dialogue.flac", &[]);
    let (status, page) = program.get("/metrics");
    assert_eq!(status, 200);

    counts_are_right(&page);
    let served = series(&page);
    documents_name(&served);
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    let expressions = expressions(&dashboard);
    assert!(expressions.len() > 20, "{}", expressions.len());
    finds("the dashboard", &expressions.join("\n"), &served);
    finds("the alert rules", &alert_expressions(), &served);
    // What alerts and rates are made of is there before anything has happened.
    let early: BTreeSet<_> = series(&fresh).into_iter().filter(|name| name.ends_with("_total")).collect();
    for name in served.iter().filter(|name| name.ends_with("_total")) {
        assert!(early.contains(name), "{name} comes about only with the first request");
    }
}

fn counts_are_right(page: &str) {
    let at_least = |name: &str, least: f64| {
        let value = sum(page, name);
        assert!(value >= least, "{name} is {value}:\n{page}");
    };
    assert_eq!(sum(page, "diarist_transcriptions_total"), 1.0);
    assert!(page.contains("diarist_transcriptions_total{outcome=\"ok\"} 1"), "{page}");
    assert_eq!(sum(page, "diarist_real_time_factor_count"), 1.0);
    for name in ["diarist_audio_received_seconds_total", "diarist_audio_done_seconds_total"] {
        at_least(name, 5.0);
    }
    let (received, done) =
        (sum(page, "diarist_audio_received_seconds_total"), sum(page, "diarist_audio_done_seconds_total"));
    assert!((received - done).abs() < 1e-6, "{received} received, {done} done");
    at_least("diarist_chunks_total", 1.0);
    at_least("diarist_speech_seconds_total", 1.0);
    for stage in ["decode", "vad", "asr"] {
        at_least(&format!("diarist_stage_seconds_total{{stage=\"{stage}\"}}"), 1e-9);
    }
    at_least("diarist_engine_busy_seconds_total", 1e-6);
    at_least("diarist_engine_audio_seconds_total", 1.0);
    assert_eq!(sum(page, "diarist_engine_workers"), 1.0);
    assert_eq!(sum(page, "diarist_engine_workers_busy") + sum(page, "diarist_engine_queue_length"), 0.0);
    at_least("diarist_model_memory_bytes", 1e6);
    at_least("diarist_model_loads_total", 1.0);
    assert_eq!(sum(page, "diarist_ready"), 1.0);
    assert_eq!(sum(page, "diarist_temporary_bytes"), 0.0);
    at_least("diarist_temporary_disk_bytes", sum(page, "diarist_temporary_free_bytes"));
    assert_eq!(sum(page, "diarist_permits_free"), sum(page, "diarist_permits_limit"));
    at_least("process_anonymous_memory_bytes", 1e6);
    assert_eq!(sum(page, "diarist_panics_total") + sum(page, "diarist_http_disconnects_total"), 0.0);
}

/// Every metric stands in the document, and no other.
fn documents_name(served: &BTreeSet<String>) {
    let documented = names(&read("docs/metrics.md"));
    let base = |name: &String| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    let served: BTreeSet<String> = served.iter().map(base).collect();
    let undocumented: Vec<_> = served.difference(&documented).collect();
    assert!(undocumented.is_empty(), "not in docs/metrics.md: {undocumented:?}");
    let missing: Vec<_> = documented.difference(&served).collect();
    assert!(missing.is_empty(), "in docs/metrics.md only: {missing:?}");
}

#[track_caller]
fn finds(who: &str, expressions: &str, served: &BTreeSet<String>) {
    let wanted = names(expressions);
    assert!(!wanted.is_empty());
    let missing: Vec<_> = wanted.difference(served).collect();
    assert!(missing.is_empty(), "{who} asks for what is not served: {missing:?}");
}

/// The expressions of all rules, each of which must say what it means and how bad it is.
fn alert_expressions() -> String {
    let rules: Value = serde_yaml_ng::from_str(&read("deploy/alerts.yml")).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() >= 8);
    for rule in &rules {
        assert!(rule["alert"].is_string() && rule["labels"]["severity"].is_string(), "{rule}");
        assert!(rule["annotations"]["summary"].is_string(), "{rule}");
        assert!(rule["annotations"]["description"].is_string(), "{rule}");
    }
    rules.iter().map(|rule| rule["expr"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}
