//! A panic in a stage ends one request; the next one is answered as if nothing had been.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diarist::asr::engine::EnginePool;
use diarist::asr::{AsrError, ChunkTranscript, DecodingOptions, Transcriber, TranscriberSpec};
use diarist::cancel::CancelToken;
use diarist::error::ErrorKind;
use diarist::models::manager::{Loaded, ModelManager};
use diarist::pipeline::{Control, Pipeline};
use diarist::scratch::Scratch;
use diarist::vad::{SileroVad, VadError, VadSpec, VoiceActivityDetector};

use crate::support::{fixture, parts, request, settings};

/// Silero, until it breaks down on its first sound.
struct Fragile {
    silero: SileroVad,
    breaks: Arc<AtomicBool>,
}

impl VoiceActivityDetector for Fragile {
    fn spec(&self) -> VadSpec {
        self.silero.spec()
    }

    fn probabilities(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), VadError> {
        assert!(!self.breaks.load(Ordering::SeqCst), "scripted");
        self.silero.probabilities(samples, out)
    }

    fn reset(&mut self) {
        self.silero.reset();
    }
}

fn fragile(breaks: &Arc<AtomicBool>) -> Fragile {
    let path = parts().catalogue.voice_activity().unwrap().path.unwrap();
    Fragile { silero: SileroVad::load(&path).unwrap(), breaks: Arc::clone(breaks) }
}

fn hello_text() -> String {
    std::fs::read_to_string(fixture("expected/hello.txt")).unwrap().trim().to_owned()
}

#[test]
fn a_panic_while_speech_is_looked_for_frees_everything_and_the_next_request_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = settings().pipeline();
    options.audio.scratch = Scratch::within(folder.path());
    let scratch = options.audio.scratch.clone();
    let breaks = Arc::new(AtomicBool::new(true));
    let made = Arc::clone(&breaks);
    let vads =
        Box::new(move || Ok::<_, VadError>(Box::new(fragile(&made)) as Box<dyn VoiceActivityDetector>));
    let pipeline = Pipeline::new(options, Arc::clone(&parts().models), vads);
    let hello = request(&fixture("audio/hello.flac"));
    for _ in 0..2 {
        // The server turns it into a 500: `a_panic_is_a_500_and_the_next_request_is_answered`.
        catch_unwind(AssertUnwindSafe(|| pipeline.run(&hello, &Control::default()))).unwrap_err();
        assert_eq!(scratch.bytes(), 0, "the decoder has ended and its sound is gone");
    }
    breaks.store(false, Ordering::SeqCst);
    let outcome = pipeline.run(&hello, &Control::default()).unwrap();
    assert_eq!(outcome.transcript.text(), hello_text());
}

/// Breaks down whatever it hears.
struct Broken;

impl Transcriber for Broken {
    fn spec(&self) -> TranscriberSpec {
        TranscriberSpec { window: 480_000, multilingual: false }
    }

    fn transcribe(
        &mut self,
        _: &[f32],
        _: &DecodingOptions,
        _: &CancelToken,
    ) -> Result<ChunkTranscript, AsrError> {
        panic!("scripted")
    }

    fn language_probabilities(&mut self, _: &[f32], _: &CancelToken) -> Result<Vec<f32>, AsrError> {
        panic!("scripted")
    }
}

#[test]
fn a_recogniser_that_panics_on_everything_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = settings().pipeline();
    options.audio.scratch = Scratch::within(folder.path());
    let scratch = options.audio.scratch.clone();
    let load = Box::new(|_: &_| {
        let pool = EnginePool::start(Arc::new(|| Ok(Box::new(Broken) as Box<dyn Transcriber>)), 2);
        Ok(Loaded { value: Arc::new(pool.unwrap()), memory_bytes: 1 })
    });
    let models = ModelManager::new(Arc::clone(&parts().catalogue), load, &settings().models());
    let sound = Arc::new(AtomicBool::new(false));
    let vads =
        Box::new(move || Ok::<_, VadError>(Box::new(fragile(&sound)) as Box<dyn VoiceActivityDetector>));
    let pipeline = Pipeline::new(options, Arc::new(models), vads);
    for _ in 0..2 {
        let error = pipeline.run(&request(&fixture("audio/hello.flac")), &Control::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
        assert_eq!(scratch.bytes(), 0);
    }
}
