//! What the workers of each model count, and what loading models costs.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::time::{SampleIndex, samples_to_seconds};

use super::{Ongoing, Seconds, duration_histogram};

type ByModel<T> = Family<[(&'static str, String); 1], T>;

/// The counters of all models. Models are few: those of the catalogue.
#[derive(Clone, Debug, Default)]
pub struct Engines {
    workers: ByModel<Gauge>,
    busy_workers: ByModel<Gauge>,
    queue: ByModel<Gauge>,
    busy: ByModel<Seconds>,
    audio: ByModel<Seconds>,
    loads: Family<[(&'static str, String); 2], Counter>,
    load_time: LoadTime,
    panics: Counter,
    load_panics: Counter,
}

#[derive(Clone, Debug)]
struct LoadTime(Histogram);

impl Default for LoadTime {
    fn default() -> Self {
        Self(duration_histogram())
    }
}

/// The counters of one model's workers. By default they count for nobody.
#[derive(Clone, Debug, Default)]
pub struct EngineMetrics {
    workers: Gauge,
    busy_workers: Gauge,
    queue: Gauge,
    busy: Seconds,
    audio: Seconds,
    panics: Counter,
}

impl Engines {
    /// Counters that `registry` shows, with those of panics that it shows already.
    pub(super) fn registered(registry: &mut Registry, panics: Counter, load_panics: Counter) -> Self {
        let new = Self { panics, load_panics, ..Self::default() };
        registry.register("engine_workers", "Workers of a loaded model", new.workers.clone());
        registry.register(
            "engine_workers_busy",
            "Workers of a loaded model that decode a chunk",
            new.busy_workers.clone(),
        );
        registry.register("engine_queue_length", "Chunks that wait for a worker", new.queue.clone());
        registry.register_with_unit(
            "engine_busy",
            "Time that workers decoded",
            Unit::Seconds,
            new.busy.clone(),
        );
        registry.register_with_unit(
            "engine_audio",
            "Sound that workers decoded; what is heard twice counts twice",
            Unit::Seconds,
            new.audio.clone(),
        );
        registry.register("model_loads", "Loads of models by result", new.loads.clone());
        registry.register_with_unit(
            "model_load_duration",
            "Time that a load took",
            Unit::Seconds,
            new.load_time.0.clone(),
        );
        new
    }

    /// The counters of `model`'s workers.
    pub fn of(&self, model: &str) -> EngineMetrics {
        let labels = [("model", model.to_owned())];
        EngineMetrics {
            workers: self.workers.get_or_create_owned(&labels),
            busy_workers: self.busy_workers.get_or_create_owned(&labels),
            queue: self.queue.get_or_create_owned(&labels),
            busy: self.busy.get_or_create_owned(&labels),
            audio: self.audio.get_or_create_owned(&labels),
            panics: self.panics.clone(),
        }
    }

    /// A load of `model` has ended.
    pub fn loaded(&self, model: &str, is_ok: bool, took: Duration) {
        let result = if is_ok { "ok" } else { "failed" };
        self.loads.get_or_create(&[("model", model.to_owned()), ("result", result.to_owned())]).inc();
        self.load_time.0.observe(took.as_secs_f64());
    }

    /// A load ended in a panic.
    pub fn load_panicked(&self) {
        self.load_panics.inc();
    }
}

impl EngineMetrics {
    /// So many workers stand ready.
    pub fn started(&self, workers: usize) {
        self.workers.set(gauge(workers));
    }

    /// The workers have gone, and their queue with them.
    pub fn stopped(&self) {
        self.workers.set(0);
        self.queue.set(0);
    }

    /// So many chunks wait.
    pub fn waiting(&self, chunks: usize) {
        self.queue.set(gauge(chunks));
    }

    /// A worker that has something to do, until this is dropped.
    pub fn work(&self) -> Ongoing {
        Ongoing::count(&self.busy_workers)
    }

    /// A worker was at so many samples for so long.
    pub fn heard(&self, took: Duration, samples: SampleIndex) {
        self.busy.inc_by(took.as_secs_f64());
        self.audio.inc_by(samples_to_seconds(samples));
    }

    /// A worker's engine panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
