//! What is looked at only when somebody asks: permits, models, temporary files, the process.
//!
//! A registry of its own each time, so that a model that has gone leaves no row behind, and two who ask at once do
//! not disturb each other.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::scratch::Disk;
use crate::telemetry::host;

use super::{PREFIX, Seconds};

/// How things stand at this moment.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// Whether requests are taken.
    pub ready: bool,
    /// The places there are.
    pub permits: Vec<Permits>,
    /// The models there are.
    pub models: Vec<ModelMemory<'a>>,
    /// What the temporary files take, in bytes.
    pub temporary_bytes: u64,
    /// The disk under them, where the system tells.
    pub disk: Option<Disk>,
}

/// Places of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Permits {
    /// What they are for.
    pub kind: &'static str,
    /// Free ones.
    pub free: usize,
    /// All.
    pub limit: usize,
}

/// A model and its memory.
#[derive(Clone, Copy, Debug)]
pub struct ModelMemory<'a> {
    /// Its id.
    pub id: &'a str,
    /// Whether it is in memory.
    pub is_loaded: bool,
    /// What it takes there, in bytes.
    pub bytes: u64,
}

type Unsigned = Gauge<u64, AtomicU64>;

/// The registry of the program's own numbers.
pub(super) fn registry_of(snapshot: &Snapshot<'_>) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("arch", std::env::consts::ARCH)]);
    registry.register("build", "The program that runs", build);
    registry.register("ready", "1 while requests are taken, otherwise 0", whole(u64::from(snapshot.ready)));
    permits(&mut registry, &snapshot.permits);
    models(&mut registry, &snapshot.models);
    storage(&mut registry, snapshot);
    registry
}

fn permits(registry: &mut Registry, permits: &[Permits]) {
    let (free, limit) =
        (Family::<[(&'static str, &'static str); 1], Gauge>::default(), Family::<_, Gauge>::default());
    for kind in permits {
        let labels = [("kind", kind.kind)];
        free.get_or_create(&labels).set(kind.free as i64);
        limit.get_or_create(&labels).set(kind.limit as i64);
    }
    registry.register(
        "permits_free",
        "Free places: admission for requests that are let in, running for those worked on",
        free,
    );
    registry.register("permits_limit", "All places", limit);
}

fn models(registry: &mut Registry, models: &[ModelMemory<'_>]) {
    type ByModel = Family<[(&'static str, String); 1], Unsigned>;
    let (loaded, memory) = (ByModel::default(), ByModel::default());
    for model in models {
        let labels = [("model", model.id.to_owned())];
        loaded.get_or_create(&labels).set(u64::from(model.is_loaded));
        memory.get_or_create(&labels).set(model.bytes);
    }
    registry.register("model_loaded", "1 for models in memory, 0 for others that are installed", loaded);
    registry.register_with_unit("model_memory", "Memory that a model's weights take", Unit::Bytes, memory);
}

fn storage(registry: &mut Registry, snapshot: &Snapshot<'_>) {
    let used = whole(snapshot.temporary_bytes);
    registry.register_with_unit("temporary", "Temporary files of this server", Unit::Bytes, used);
    let Some(disk) = snapshot.disk else { return };
    registry.register_with_unit(
        "temporary_free",
        "Free space where they lie",
        Unit::Bytes,
        whole(disk.free_bytes),
    );
    registry.register_with_unit(
        "temporary_disk",
        "Size of the disk where they lie",
        Unit::Bytes,
        whole(disk.size_bytes),
    );
}

/// The registry of the process, under the names that all programs use.
pub(super) fn process_registry() -> Registry {
    let mut registry = Registry::with_prefix("process");
    let Some(process) = host::process() else { return registry };
    let bytes = [
        ("resident_memory", "Memory in RAM, mapped files included", process.resident_bytes),
        ("anonymous_memory", "Memory in RAM that no file stands behind", process.anonymous_bytes),
        ("virtual_memory", "Address space", process.virtual_bytes),
    ];
    for (name, help, value) in bytes {
        registry.register_with_unit(name, help, Unit::Bytes, whole(value));
    }
    registry.register("open_fds", "Open file descriptors", whole(process.open_fds));
    registry.register("max_fds", "Most file descriptors allowed", whole(process.max_fds));
    registry.register("threads", "Threads", whole(process.threads));
    let cpu: Seconds = Counter::default();
    cpu.inc_by(process.cpu_s);
    registry.register_with_unit("cpu", "Processor time used", Unit::Seconds, cpu);
    let started = Gauge::<f64, AtomicU64>::default();
    started.set(process.started_s);
    registry.register_with_unit("start_time", "When the process started, since 1970", Unit::Seconds, started);
    registry
}

fn whole(value: u64) -> Unsigned {
    let gauge = Unsigned::default();
    gauge.set(value);
    gauge
}
