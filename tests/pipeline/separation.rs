//! Voices out of music on their way through the pipeline.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use diarist::cancel::CancelToken;
use diarist::error::ErrorKind;
use diarist::output::{RenderOptions, ResponseFormat, render};
use diarist::pipeline::{Control, LentSeparator, Pipeline, PipelineError, Request, SeparationMode, Stage};
use diarist::scratch::Scratch;
use diarist::separation::stft::Stft;
use diarist::separation::{SeparationError, SeparatorSpec, VocalSeparator};
use diarist::transcript::Transcript;
use diarist::vad::{SileroVad, VadError, VoiceActivityDetector};

use crate::songs::{song, speech, word_error_rate};
use crate::support::{fixture, parts, request, settings};

/// Keeps the band of a voice, as the bundled demonstration model does.
struct Band {
    stft: Stft,
    windows: Arc<AtomicUsize>,
}

impl VocalSeparator for Band {
    fn spec(&self) -> SeparatorSpec {
        SeparatorSpec { sample_rate: 44_100, window: 128 * 512, hop: 512, margin: 2_048 }
    }
    fn separate(&self, mix: &[Vec<f32>], voice: &mut [Vec<f32>]) -> Result<(), SeparationError> {
        self.windows.fetch_add(1, Ordering::SeqCst);
        for (mix, voice) in mix.iter().zip(voice) {
            let mut frames = Vec::new();
            self.stft.forward(mix, |_, bins| frames.push(bins.to_vec()));
            self.stft.inverse(voice, |frame, bins| {
                bins.copy_from_slice(&frames[frame]);
                bins[..9].fill(Default::default());
                bins[159..].fill(Default::default());
            });
        }
        Ok(())
    }
}

/// The real pipeline with a separator of the test's; temporary files lie in a folder of its own.
struct Bench {
    pipeline: Pipeline,
    scratch: Scratch,
    windows: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

fn bench() -> Bench {
    let windows = Arc::new(AtomicUsize::new(0));
    let band = Band { stft: Stft::new(2_048, 512).unwrap(), windows: Arc::clone(&windows) };
    let folder = tempfile::tempdir().unwrap();
    let mut options = settings().pipeline();
    options.audio.scratch = Scratch::within(folder.path());
    let scratch = options.audio.scratch.clone();
    let path = parts().catalogue.voice_activity().unwrap().path.unwrap();
    let vads = Box::new(move || {
        Ok::<_, VadError>(Box::new(SileroVad::load(&path)?) as Box<dyn VoiceActivityDetector>)
    });
    let lent = LentSeparator { id: "scripted".into(), separator: Arc::new(band) };
    let pipeline = Pipeline::new(options, Arc::clone(&parts().models), vads);
    let pipeline = pipeline.with_separators(Box::new(move || Ok(lent.clone())));
    Bench { pipeline, scratch, windows, _folder: folder }
}

impl Bench {
    fn hear(&self, path: &Path, mode: SeparationMode) -> Transcript {
        let request = Request { separation: Some(mode), ..request(path) };
        self.pipeline.run(&request, &Control::default()).unwrap().transcript
    }
}

#[test]
fn explore() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench();
    let path = folder.path().join("song.wav");
    let song = song(0, 12);
    song.write(&path);
    let clean = folder.path().join("clean.wav");
    speech(0, 8).write(&clean);
    println!("clean {}", word_error_rate(&song.text(), &bench.hear(&clean, SeparationMode::Off).text()));
    println!("clean on {}", word_error_rate(&song.text(), &bench.hear(&clean, SeparationMode::On).text()));
    for mode in [SeparationMode::Off, SeparationMode::Auto] {
        let t = bench.hear(&path, mode);
        println!("{mode:?} {:.3} {:?} windows {}", word_error_rate(&song.text(), &t.text()), t.separation, bench.windows.load(Ordering::SeqCst));
        for s in t.segments.iter() { let s = s.unwrap(); println!("  {:?} {} {}", s.span, s.avg_logprob, s.text); }
    }
}
