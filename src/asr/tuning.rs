//! Which shape (workers × threads) gives the most text per second on this machine, by trying.
//!
//! Each shape recognises the same short clip with all its workers at once. Trying is bounded in time: on a
//! crowded machine threads that wait for each other can be a thousand times slower than one alone, and such a
//! shape is cut short and counts as worthless.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::engine::Factory;
use super::{AsrError, DecodingOptions};
use crate::cancel::CancelToken;
use crate::runtime::cores::Shape;
use crate::time::samples_to_seconds;

/// Each worker recognises the clip at least once and for at least so long.
const LEAST: Duration = Duration::from_millis(80);

/// Longest that one shape is tried.
const MOST: Duration = Duration::from_secs(2);

/// A later shape is taken only if it is faster by this factor: measurements are not exact, and earlier shapes
/// suffer less from other programs.
const CLEARLY: f64 = 1.05;

/// How fast a shape was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// What was tried.
    pub shape: Shape,
    /// Seconds of speech recognised per second, by all workers together; 0 if it was cut short.
    pub speed: f64,
}

/// Loads the model for a number of threads.
pub type Load<'a> = dyn Fn(usize) -> Result<Factory, AsrError> + 'a;

/// Tries the shapes in order, as many as fit into `budget` (the first always), with `clip` (16 kHz mono).
///
/// # Errors
/// What the first shape that fails gives.
pub fn measure(
    shapes: &[Shape],
    clip: &[f32],
    budget: Duration,
    load: &Load<'_>,
) -> Result<Vec<Trial>, AsrError> {
    let start = Instant::now();
    let mut trials = Vec::new();
    for shape in shapes {
        if !trials.is_empty() && start.elapsed() >= budget {
            break;
        }
        trials.push(Trial { shape: *shape, speed: speed(*shape, clip, load)? });
    }
    Ok(trials)
}

/// The fastest shape; of such as are about equal, the first.
pub fn best(trials: &[Trial]) -> Option<Shape> {
    let (first, others) = trials.split_first()?;
    let best = others.iter().fold(
        first,
        |best, trial| {
            if trial.speed > best.speed * CLEARLY { trial } else { best }
        },
    );
    Some(best.shape)
}

fn speed(shape: Shape, clip: &[f32], load: &Load<'_>) -> Result<f64, AsrError> {
    let factory = load(shape.threads)?;
    let cancel = CancelToken::new();
    let (reply, results) = channel();
    let clips_per_second = std::thread::scope(|scope| {
        for _ in 0..shape.workers {
            let worker = Worker { factory: &factory, clip, cancel: &cancel };
            let reply = reply.clone();
            scope.spawn(move || worker.run(&reply));
        }
        drop(reply);
        let deadline = Instant::now() + MOST;
        let mut sum = 0.0;
        loop {
            match results.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(rate)) => sum += rate,
                Ok(Err(error)) => {
                    cancel.cancel();
                    return Err(error);
                }
                // All have answered.
                Err(RecvTimeoutError::Disconnected) => return Ok(sum),
                Err(RecvTimeoutError::Timeout) => {
                    cancel.cancel();
                    return Ok(0.0);
                }
            }
        }
    })?;
    Ok(clips_per_second * samples_to_seconds(clip.len() as u64))
}

struct Worker<'a> {
    factory: &'a Factory,
    clip: &'a [f32],
    cancel: &'a CancelToken,
}

impl Worker<'_> {
    /// Sends how many clips it recognises in a second.
    fn run(&self, reply: &Sender<Result<f64, AsrError>>) {
        let result = catch_unwind(AssertUnwindSafe(|| self.clips_per_second()));
        let panicked = |_| Err(AsrError::Engine("the engine panicked".into()));
        // Whoever gave up waiting does not want it.
        let _ = reply.send(result.unwrap_or_else(panicked));
    }

    fn clips_per_second(&self) -> Result<f64, AsrError> {
        let options =
            DecodingOptions { beam_size: 1, temperature_increment: 0.0, ..DecodingOptions::default() };
        let mut transcriber = (self.factory)()?;
        // The first time finds memory and threads.
        transcriber.transcribe(self.clip, &options, self.cancel)?;
        let start = Instant::now();
        let mut clips = 0.0;
        while clips == 0.0 || start.elapsed() < LEAST {
            transcriber.transcribe(self.clip, &options, self.cancel)?;
            clips += 1.0;
        }
        Ok(clips / start.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::{ChunkTranscript, Transcriber, TranscriberSpec};
    use std::sync::Arc;

    /// Takes `pause` for each clip, for ever if it is not told to stop; fails where it has no pause.
    struct Fake {
        pause: Option<Duration>,
    }

    impl Transcriber for Fake {
        fn spec(&self) -> TranscriberSpec {
            TranscriberSpec { window: 10, multilingual: false }
        }

        fn transcribe(
            &mut self,
            _: &[f32],
            _: &DecodingOptions,
            cancel: &CancelToken,
        ) -> Result<ChunkTranscript, AsrError> {
            let end = Instant::now() + self.pause.ok_or_else(|| AsrError::Engine("broken".into()))?;
            while Instant::now() < end {
                if cancel.is_cancelled() {
                    return Err(AsrError::Cancelled);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(ChunkTranscript::default())
        }

        fn language_probabilities(&mut self, _: &[f32], _: &CancelToken) -> Result<Vec<f32>, AsrError> {
            Ok(vec![1.0])
        }
    }

    const SHAPES: [Shape; 2] = [Shape { workers: 2, threads: 1 }, Shape { workers: 1, threads: 2 }];

    fn trials(pause: fn(usize) -> Option<Duration>, budget: Duration) -> Result<Vec<Trial>, AsrError> {
        measure(&SHAPES, &[0.0; 16_000], budget, &|threads| {
            let pause = pause(threads);
            Ok(Arc::new(move || Ok(Box::new(Fake { pause }) as Box<dyn Transcriber>)) as Factory)
        })
    }

    #[test]
    fn a_shape_that_never_ends_is_cut_short_and_not_chosen() {
        let pause = |threads| Some(Duration::from_millis(if threads > 1 { 3_600_000 } else { 10 }));
        let trials = trials(pause, Duration::from_secs(60)).unwrap();
        assert!(trials[0].speed > 0.0);
        assert_eq!((trials[1].speed, best(&trials)), (0.0, Some(SHAPES[0])));
    }

    #[test]
    fn without_time_only_the_first_is_tried() {
        let trials = trials(|_| Some(Duration::from_millis(1)), Duration::ZERO).unwrap();
        assert_eq!(trials.len(), 1);
    }

    #[test]
    fn an_engine_that_fails_is_an_error() {
        assert!(trials(|_| None, Duration::from_secs(1)).is_err());
    }

    #[test]
    fn a_later_shape_must_be_clearly_faster() {
        let trial = |shape, speed| Trial { shape, speed };
        let [many, few] = SHAPES;
        assert_eq!(best(&[trial(many, 10.0), trial(few, 10.4)]), Some(many));
        assert_eq!(best(&[trial(many, 10.0), trial(few, 10.6)]), Some(few));
        assert_eq!(best(&[]), None);
    }
}
