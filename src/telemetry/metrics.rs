//! Everything that is counted, for Prometheus.
//!
//! `requests` is counted at the door, `work` by the pipeline, `engine` by the workers of the models, and `snapshot`
//! holds what is looked at only when somebody asks. `docs/metrics.md` lists every metric with its meaning; a test
//! holds it to what is served.

pub mod engine;
pub mod requests;
pub mod snapshot;
pub mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use engine::{EngineMetrics, Engines};
pub use requests::RequestMetrics;
pub use snapshot::{ModelMemory, Permits, Snapshot};
pub use work::WorkMetrics;

/// Media type of what `render` gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Beginning of the names of this program's own metrics.
const PREFIX: &str = "diarist";

/// Things that add up.
pub type Count = Counter;

/// Seconds that add up.
pub type Seconds = Counter<f64, AtomicU64>;

/// Counters by one label, whose values are few.
type CounterBy = Family<[(&'static str, &'static str); 1], Counter>;

/// The numbers of one server. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// What happens at the door.
    pub requests: RequestMetrics,
    /// What the pipeline does.
    pub work: WorkMetrics,
    /// What the workers of each model do.
    pub engines: Engines,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let requests = RequestMetrics::registered(&mut registry);
        let work = WorkMetrics::registered(&mut registry);
        let panics = |place| requests.panics_at(place);
        let engines = Engines::registered(&mut registry, panics("engine"), panics("load"));
        Self { registry: Arc::new(registry), requests, work, engines }
    }

    /// All of it in OpenMetrics' text format, with what `snapshot` says of this moment. Reads `/proc`: not for an async
    /// thread.
    pub fn render(&self, snapshot: &Snapshot<'_>) -> String {
        let mut text = String::with_capacity(32 << 10);
        let own = snapshot::registry_of(snapshot);
        let process = snapshot::process_registry();
        for registry in [&*self.registry, &own, &process] {
            encode_registry(&mut text, registry).expect("a string takes everything");
        }
        encode_eof(&mut text).expect("a string takes everything");
        text
    }
}

/// Something that is going on. Counted until it is dropped.
#[derive(Debug)]
pub struct Ongoing(Gauge);

impl Ongoing {
    /// One more.
    pub fn count(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A counter for each of `values`, all there from the start: a rate can only be taken of what has been seen before.
fn counters(label: &'static str, values: &[&'static str]) -> CounterBy {
    let family = CounterBy::default();
    for value in values {
        drop(family.get_or_create(&[(label, *value)]));
    }
    family
}

/// From a hundredth of a second to three hours, in seconds: a probe and a day of sound are requests alike.
fn duration_histogram() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 10_800.0])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn snapshot() -> Snapshot<'static> {
        Snapshot {
            ready: true,
            permits: vec![Permits { kind: "running", free: 1, limit: 4 }],
            models: vec![ModelMemory { id: "odd\"name\n", is_loaded: true, bytes: 7 }],
            temporary_bytes: 0,
            disk: None,
        }
    }

    #[test]
    fn servers_in_one_process_count_apart_and_clones_together() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.clone().requests.refused("busy");
        let refusals = |metrics: &Metrics| {
            let text = metrics.render(&snapshot());
            let line =
                text.lines().find(|line| line.starts_with("diarist_http_refusals_total{reason=\"busy\"}"));
            line.unwrap().to_owned()
        };
        assert!(refusals(&one).ends_with(" 1"));
        assert!(refusals(&other).ends_with(" 0"));
    }

    #[test]
    fn every_number_has_its_help_and_its_unit_and_the_text_its_end() {
        let metrics = Metrics::new();
        metrics.requests.finished("/health", "GET", 200, Duration::from_millis(3));
        let engine = metrics.engines.of("tiny");
        engine.heard(Duration::from_secs(1), 16_000);
        let text = metrics.render(&snapshot());
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert_eq!(text.matches("# EOF").count(), 1);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_total", "_bucket", "_sum", "_count", "_info"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let is_helped = |name: &str| text.contains(&format!("# HELP {name} "));
            assert!(is_helped(name) || base.is_some_and(is_helped), "no help for {name}");
        }
        assert!(text.contains("# UNIT diarist_engine_busy_seconds seconds"), "{text}");
        assert!(text.contains("diarist_engine_audio_seconds_total{model=\"tiny\"} 1.0"), "{text}");
        // A name cannot break the format.
        assert!(text.contains("diarist_model_memory_bytes{model=\"odd\\\"name\\n\"} 7"), "{text}");
    }

    #[test]
    fn what_goes_on_is_counted_until_it_ends() {
        let gauge = Gauge::default();
        let (one, two) = (Ongoing::count(&gauge), Ongoing::count(&gauge));
        assert_eq!(gauge.get(), 2);
        drop(one);
        drop(two);
        assert_eq!(gauge.get(), 0);
    }
}
