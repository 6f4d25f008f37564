//! The workers of one loaded model and their fair queue.
//!
//! Each worker owns a `Transcriber` and takes chunks from the queue, whose order `queue` decides: a short
//! clip never waits behind a long file. Samples are read from the spool by the worker, just before they are
//! needed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::queue::FairQueue;
use super::{AsrError, ChunkTranscript, DecodingOptions, Transcriber, TranscriberSpec};
use crate::cancel::CancelToken;
use crate::telemetry::metrics::EngineMetrics;

pub use super::queue::Priority;

/// Makes one worker's transcriber; called again after a panic.
pub type Factory = Arc<dyn Fn() -> Result<Box<dyn Transcriber>, AsrError> + Send + Sync>;

/// Adds samples to a worker's empty buffer.
type Read = Box<dyn FnOnce(&mut Vec<f32>) + Send>;

/// How a worker gets a job's samples (16 kHz mono, in [-1, 1]).
pub struct ReadSamples {
    length: u64,
    read: Read,
}

impl ReadSamples {
    /// `read` adds `length` samples to the worker's empty buffer. The length decides what the job counts in
    /// the queue.
    pub fn new(length: u64, read: impl FnOnce(&mut Vec<f32>) + Send + 'static) -> Self {
        Self { length, read: Box::new(read) }
    }
}

/// The workers of one model. Dropping it lets running jobs end and joins the workers.
pub struct EnginePool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    spec: TranscriberSpec,
    next_request: AtomicU64,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    metrics: EngineMetrics,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent at every point where its holder could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called with the lock held, after the queue has changed.
    fn note_length(&self, queue: &Queue) {
        self.metrics.waiting(queue.jobs.len());
    }
}

#[derive(Default)]
struct Queue {
    jobs: FairQueue<Job>,
    closed: bool,
}

struct Job {
    length: u64,
    read: Read,
    /// The request's, so that what a worker logs belongs to it.
    span: tracing::Span,
    cancel: CancelToken,
    work: Work,
}

enum Work {
    Transcribe { index: usize, options: Arc<DecodingOptions>, reply: Sender<Recognised> },
    Languages { reply: Sender<Result<Vec<f32>, AsrError>> },
}

impl Work {
    /// A span for traces: what the worker is at.
    fn span(&self, samples: u64) -> tracing::Span {
        match self {
            Self::Transcribe { index, .. } => tracing::debug_span!("chunk", index, samples),
            Self::Languages { .. } => tracing::debug_span!("language_window", samples),
        }
    }
}

/// A finished chunk: its index in the request, and its text.
pub type Recognised = (usize, Result<ChunkTranscript, AsrError>);

impl EnginePool {
    /// Starts `workers` (at least one) threads; the first transcriber is made here, so that a model that
    /// cannot run is an error now.
    ///
    /// # Errors
    /// What `factory` gives.
    pub fn start(factory: Factory, workers: usize) -> Result<Self, AsrError> {
        Self::start_counted(factory, workers, EngineMetrics::default())
    }

    /// As `start`; the workers count what they do.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_counted(factory: Factory, workers: usize, metrics: EngineMetrics) -> Result<Self, AsrError> {
        let first = factory()?;
        let spec = first.spec();
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), metrics });
        let mut first = Some(first);
        let workers = (0..workers.max(1))
            .map(|index| {
                let worker = Worker { transcriber: first.take(), factory: Arc::clone(&factory) };
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("asr-{index}"))
                    .spawn(move || worker.run(&shared))
                    .map_err(|error| AsrError::Engine(format!("no thread for a worker: {error}")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        shared.metrics.started(workers.len());
        Ok(Self { shared, workers, spec, next_request: AtomicU64::new(0) })
    }

    /// What the model can do.
    pub fn spec(&self) -> TranscriberSpec {
        self.spec
    }

    /// How many chunks are decoded at once.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// A request's place in the queue.
    pub fn session(&self, cancel: CancelToken, priority: Priority) -> Session<'_> {
        let (reply, results) = channel();
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        self.shared.lock().jobs.open(request, priority);
        Session { pool: self, request, cancel, reply, results }
    }
}

impl Drop for EnginePool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // Workers catch panics of the engine; a join error has nothing left to clean up.
            let _ = worker.join();
        }
        self.shared.metrics.stopped();
    }
}

/// One request's view of the pool. Dropping it takes back the jobs that have not started.
pub struct Session<'a> {
    pool: &'a EnginePool,
    request: u64,
    cancel: CancelToken,
    reply: Sender<Recognised>,
    results: Receiver<Recognised>,
}

impl Session<'_> {
    /// Queues chunk `index`; its result comes out of `next`.
    pub fn submit(&self, index: usize, read: ReadSamples, options: Arc<DecodingOptions>) {
        let work = Work::Transcribe { index, options, reply: self.reply.clone() };
        self.push(read, work);
    }

    /// Waits for the next finished chunk, in any order. Call it once per submitted chunk.
    ///
    /// # Errors
    /// When the pool has shut down.
    pub fn next(&self) -> Result<Recognised, AsrError> {
        self.results.recv().map_err(|_| AsrError::Engine("the engine has stopped".into()))
    }

    /// The next finished chunk, if there is one now.
    pub fn try_next(&self) -> Option<Recognised> {
        self.results.try_recv().ok()
    }

    /// Queues a window for language detection.
    pub fn languages(&self, read: ReadSamples) -> Receiver<Result<Vec<f32>, AsrError>> {
        let (reply, result) = channel();
        self.push(read, Work::Languages { reply });
        result
    }

    fn push(&self, read: ReadSamples, work: Work) {
        let ReadSamples { length, read } = read;
        let job = Job { length, read, span: tracing::Span::current(), cancel: self.cancel.clone(), work };
        let shared = &self.pool.shared;
        let mut queue = shared.lock();
        // The request is open as long as the session lives, so the queue takes the job.
        let _ = queue.jobs.push(self.request, length, job);
        shared.note_length(&queue);
        drop(queue);
        shared.changed.notify_one();
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let mut queue = self.pool.shared.lock();
        queue.jobs.close(self.request);
        self.pool.shared.note_length(&queue);
    }
}

struct Worker {
    transcriber: Option<Box<dyn Transcriber>>,
    factory: Factory,
}

impl Worker {
    fn run(mut self, shared: &Shared) {
        let mut samples = Vec::new();
        while let Some(job) = next_job(shared) {
            samples.clear();
            self.serve(job, &mut samples, &shared.metrics);
        }
    }

    fn serve(&mut self, job: Job, samples: &mut Vec<f32>, metrics: &EngineMetrics) {
        let Job { length, read, span, cancel, work } = job;
        let _request = span.entered();
        let _chunk = work.span(length).entered();
        let (_busy, start) = (metrics.work(), Instant::now());
        // Replies are lost only when their request has gone, which is fine.
        match work {
            Work::Transcribe { index, options, reply } => {
                let result = self.guarded(&cancel, metrics, |transcriber| {
                    read(samples);
                    transcriber.transcribe(samples, &options, &cancel)
                });
                note(metrics, start, length, &result);
                let _ = reply.send((index, result));
            }
            Work::Languages { reply } => {
                let result = self.guarded(&cancel, metrics, |transcriber| {
                    read(samples);
                    transcriber.language_probabilities(samples, &cancel)
                });
                note(metrics, start, length, &result);
                let _ = reply.send(result);
            }
        }
    }

    /// Runs `work` on the transcriber; a panic is this job's error and costs the transcriber.
    fn guarded<R>(
        &mut self,
        cancel: &CancelToken,
        metrics: &EngineMetrics,
        work: impl FnOnce(&mut dyn Transcriber) -> Result<R, AsrError>,
    ) -> Result<R, AsrError> {
        if cancel.is_cancelled() {
            return Err(AsrError::Cancelled);
        }
        let idle = self.transcriber.take();
        let factory = &self.factory;
        // Whatever happens in here, the job gets an answer.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut transcriber = idle.map_or_else(|| factory(), Ok)?;
            let result = work(transcriber.as_mut());
            Ok((transcriber, result))
        }));
        match result {
            Ok(Ok((transcriber, result))) => {
                self.transcriber = Some(transcriber);
                result
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                metrics.panicked();
                Err(AsrError::Engine("the engine panicked on this chunk".into()))
            }
        }
    }
}

/// Counts a job that has been worked on; what was taken back cost nothing.
fn note<T>(metrics: &EngineMetrics, start: Instant, length: u64, result: &Result<T, AsrError>) {
    if !matches!(result, Err(AsrError::Cancelled)) {
        let took = start.elapsed();
        tracing::debug!(elapsed_ms = took.as_millis() as u64, "a worker is done");
        metrics.heard(took, length);
    }
}

fn next_job(shared: &Shared) -> Option<Job> {
    let mut queue = shared.lock();
    loop {
        if let Some(job) = queue.jobs.pop() {
            shared.note_length(&queue);
            return Some(job);
        }
        if queue.closed {
            return None;
        }
        queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::TimeSpan;
    use crate::transcript::Segment;

    /// "Recognises" the first sample's value; panics on a negative one; waits for the gate first.
    struct Fake {
        gate: Arc<Mutex<()>>,
        log: Arc<Mutex<Vec<i32>>>,
    }

    impl Transcriber for Fake {
        fn spec(&self) -> TranscriberSpec {
            TranscriberSpec { window: 10, multilingual: false }
        }

        fn transcribe(
            &mut self,
            samples: &[f32],
            _: &DecodingOptions,
            _: &CancelToken,
        ) -> Result<ChunkTranscript, AsrError> {
            drop(self.gate.lock());
            let value = samples[0] as i32;
            assert!(value >= 0, "a panic inside the engine");
            self.log.lock().unwrap().push(value);
            Ok(ChunkTranscript { segments: vec![segment(value)], prompt_tokens: 0 })
        }

        fn language_probabilities(&mut self, _: &[f32], _: &CancelToken) -> Result<Vec<f32>, AsrError> {
            Ok(vec![1.0])
        }
    }

    fn segment(value: i32) -> Segment {
        Segment { span: TimeSpan::new(0, 10), text: value.to_string(), ..Segment::default() }
    }

    struct Rig {
        pool: EnginePool,
        gate: Arc<Mutex<()>>,
        log: Arc<Mutex<Vec<i32>>>,
    }

    fn rig(workers: usize) -> Rig {
        let (gate, log) = (Arc::default(), Arc::default());
        let (fake_gate, fake_log) = (Arc::clone(&gate), Arc::clone(&log));
        let factory: Factory =
            Arc::new(move || Ok(Box::new(Fake { gate: Arc::clone(&fake_gate), log: Arc::clone(&fake_log) })));
        Rig { pool: EnginePool::start(factory, workers).unwrap(), gate, log }
    }

    fn submit(session: &Session<'_>, index: usize, value: i32) {
        session.submit(
            index,
            ReadSamples::new(1, move |samples| samples.push(value as f32)),
            Arc::new(DecodingOptions::default()),
        );
    }

    #[test]
    fn every_chunk_comes_back_with_its_index() {
        let rig = rig(3);
        let session = rig.pool.session(CancelToken::new(), Priority::Normal);
        (0..20).for_each(|i| submit(&session, i, i as i32 * 2));
        let mut results: Vec<_> = (0..20).map(|_| session.next().unwrap()).collect();
        results.sort_by_key(|(index, _)| *index);
        for (index, result) in results {
            assert_eq!(result.unwrap().segments[0].text, (index * 2).to_string());
        }
    }

    #[test]
    fn a_short_request_does_not_wait_behind_a_long_one() {
        let rig = rig(1);
        let closed = rig.gate.lock().unwrap();
        let long = rig.pool.session(CancelToken::new(), Priority::Normal);
        (0..50).for_each(|i| submit(&long, i, i as i32));
        let short = rig.pool.session(CancelToken::new(), Priority::Normal);
        submit(&short, 0, 1000);
        drop(closed);
        short.next().unwrap().1.unwrap();
        let before = rig.log.lock().unwrap().iter().position(|value| *value == 1000).unwrap();
        assert!(before <= 2, "{before} chunks of the long request went first");
        (0..50).for_each(|_| drop(long.next()));
    }

    #[test]
    fn high_priority_goes_before_normal() {
        let rig = rig(1);
        let closed = rig.gate.lock().unwrap();
        let first = rig.pool.session(CancelToken::new(), Priority::Normal);
        submit(&first, 0, 1);
        let normal = rig.pool.session(CancelToken::new(), Priority::Normal);
        submit(&normal, 0, 2);
        let high = rig.pool.session(CancelToken::new(), Priority::High);
        submit(&high, 0, 3);
        drop(closed);
        normal.next().unwrap().1.unwrap();
        let log = rig.log.lock().unwrap();
        let place = |value| log.iter().position(|other| *other == value).unwrap();
        assert!(place(3) < place(2), "{log:?}");
    }

    #[test]
    fn a_panic_costs_one_chunk_only() {
        let rig = rig(1);
        let session = rig.pool.session(CancelToken::new(), Priority::Normal);
        submit(&session, 0, -1);
        submit(&session, 1, 7);
        assert!(matches!(session.next().unwrap(), (0, Err(AsrError::Engine(_)))));
        assert_eq!(session.next().unwrap().1.unwrap().segments[0].text, "7");
    }

    #[test]
    fn a_worker_that_cannot_be_made_again_answers_with_an_error() {
        let made = AtomicU64::new(0);
        let (gate, log) = (Arc::default(), Arc::default());
        let factory: Factory = Arc::new(move || {
            assert!(made.fetch_add(1, Ordering::Relaxed) == 0, "a panic while a worker is made");
            Ok(Box::new(Fake { gate: Arc::clone(&gate), log: Arc::clone(&log) }))
        });
        let pool = EnginePool::start(factory, 1).unwrap();
        let session = pool.session(CancelToken::new(), Priority::Normal);
        submit(&session, 0, -1);
        submit(&session, 1, 7);
        for index in 0..2 {
            assert!(matches!(session.next().unwrap(), (i, Err(AsrError::Engine(_))) if i == index));
        }
    }

    #[test]
    fn a_cancelled_request_ends_without_work() {
        let rig = rig(1);
        let closed = rig.gate.lock().unwrap();
        let other = rig.pool.session(CancelToken::new(), Priority::Normal);
        submit(&other, 0, 1);
        let cancel = CancelToken::new();
        let session = rig.pool.session(cancel.clone(), Priority::Normal);
        submit(&session, 0, 2);
        cancel.cancel();
        drop(closed);
        assert!(matches!(session.next().unwrap(), (0, Err(AsrError::Cancelled))));
        other.next().unwrap().1.unwrap();
        assert_eq!(*rig.log.lock().unwrap(), [1]);
    }

    #[test]
    fn dropping_a_session_takes_its_waiting_chunks_back() {
        let rig = rig(1);
        let closed = rig.gate.lock().unwrap();
        let gone = rig.pool.session(CancelToken::new(), Priority::Normal);
        (0..5).for_each(|i| submit(&gone, i, 5));
        drop(gone);
        let session = rig.pool.session(CancelToken::new(), Priority::Normal);
        submit(&session, 0, 6);
        drop(closed);
        session.next().unwrap().1.unwrap();
        assert!(rig.log.lock().unwrap().len() <= 2);
    }
}
