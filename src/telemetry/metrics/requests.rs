//! What is counted at the door: requests, uploads, the line, refusals, clients that leave.

use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{CounterBy, Ongoing, counters, duration_histogram};

/// How far a request had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Its head has been read.
    #[default]
    Head,
    /// Its body is coming in.
    Upload,
    /// It waits for its turn.
    Queue,
    /// It is being worked on; a stream is being answered meanwhile.
    Work,
    /// Its answer is being sent.
    Answer,
}

impl Phase {
    const ALL: [&'static str; 5] = ["head", "upload", "queue", "work", "answer"];

    /// Its name in labels and logs.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

/// Reasons of refusals that every server may have; others join when they come about.
const REASONS: [&str; 7] = ["busy", "client_limit", "loading", "stopping", "storage", "text", "unavailable"];

type RequestLabels = [(&'static str, String); 3];
type HistogramBy = Family<[(&'static str, &'static str); 1], Histogram, fn() -> Histogram>;

/// Counters of requests.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: HistogramBy,
    in_flight: Gauge,
    disconnects: CounterBy,
    refusals: CounterBy,
    panics: CounterBy,
    uploads: Gauge,
    upload_bytes: Counter,
    queue: Gauge,
    queue_wait: Histogram,
}

impl RequestMetrics {
    /// Counters that `registry` shows.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let new = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(duration_histogram),
            in_flight: Gauge::default(),
            disconnects: counters("phase", &Phase::ALL),
            refusals: counters("reason", &REASONS),
            panics: counters("place", &["request", "engine", "load"]),
            uploads: Gauge::default(),
            upload_bytes: Counter::default(),
            queue: Gauge::default(),
            queue_wait: duration_histogram(),
        };
        registry.register(
            "http_requests",
            "Requests by route, method and status; 499 when the client left first",
            new.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to the last byte of its answer",
            Unit::Seconds,
            new.durations.clone(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests whose answer has not been sent",
            new.in_flight.clone(),
        );
        registry.register(
            "http_disconnects",
            "Clients that left before their answer was whole, by how far their request had come",
            new.disconnects.clone(),
        );
        registry.register("http_refusals", "Answers 429 and 503 by reason", new.refusals.clone());
        registry.register("panics", "Defects that ended a piece of work, by place", new.panics.clone());
        registry.register("uploads_in_progress", "Uploads that are coming in", new.uploads.clone());
        registry.register_with_unit(
            "upload",
            "Bytes of request bodies taken in",
            Unit::Bytes,
            new.upload_bytes.clone(),
        );
        registry.register("queue_length", "Requests that wait for a running place", new.queue.clone());
        registry.register_with_unit(
            "queue_wait",
            "Time that requests waited for a running place",
            Unit::Seconds,
            new.queue_wait.clone(),
        );
        new
    }

    /// A request that has arrived, until its answer has been sent.
    pub fn in_flight(&self) -> Ongoing {
        Ongoing::count(&self.in_flight)
    }

    /// A request is over. `route` and `method` must be of few values.
    pub fn finished(&self, route: &'static str, method: &'static str, status: u16, took: Duration) {
        let labels =
            [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&[("route", route)]).observe(took.as_secs_f64());
    }

    /// A client left.
    pub fn disconnected(&self, phase: Phase) {
        self.disconnects.get_or_create(&[("phase", phase.name())]).inc();
    }

    /// An answer of 429 or 503.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&[("reason", reason)]).inc();
    }

    /// A request ended in a panic.
    pub fn panicked(&self) {
        self.panics.get_or_create(&[("place", "request")]).inc();
    }

    /// Panics at another place, for whoever counts them there.
    pub(super) fn panics_at(&self, place: &'static str) -> Counter {
        self.panics.get_or_create_owned(&[("place", place)])
    }

    /// An upload that is coming in.
    pub fn upload(&self) -> Ongoing {
        Ongoing::count(&self.uploads)
    }

    /// Bytes of bodies; to be counted as they come.
    pub fn upload_bytes(&self) -> Counter {
        self.upload_bytes.clone()
    }

    /// A request that waits for its turn.
    pub fn wait(&self) -> Wait {
        Wait { _waiting: Ongoing::count(&self.queue), waits: self.queue_wait.clone(), since: Instant::now() }
    }
}

/// A wait. Its length is noted when it is dropped, also when the client did not wait to its end.
#[derive(Debug)]
pub struct Wait {
    _waiting: Ongoing,
    waits: Histogram,
    since: Instant,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.observe(self.since.elapsed().as_secs_f64());
    }
}
