//! How the engine runs its networks: in order, while the recording grows, and only as long as somebody wants it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use diarist::audio::{AudioError, PcmSpool, SpoolWriter};
use diarist::cancel::CancelToken;
use diarist::diarization::activity::Activity;
use diarist::diarization::attribution::{Method, WindowNumbers};
use diarist::diarization::embedding::ge2e::Ge2eEmbedder;
use diarist::diarization::embedding::{HeardWindow, Horizon, SpeakerEmbedder, VoiceListener};
use diarist::diarization::engine::TOGETHER;
use diarist::diarization::grid::{FRAMES, Grid, WINDOW};
use diarist::diarization::samples::Samples;
use diarist::diarization::segmentation::{SpeakerSegmenter, Window, WindowSegmenter};
use diarist::diarization::split::SplitSegmenter;
use diarist::diarization::team::{Places, Team};
use diarist::diarization::{DiarizationEngine, DiarizationError, KnownVoice, Sound, tables};
use diarist::scratch::Scratch;
use diarist::time::{SampleIndex, TimeSpan};

use crate::{fixture, in_repository};

/// An engine, and places of its own.
pub struct Listening {
    engine: DiarizationEngine,
    places: Arc<Places>,
}

impl Listening {
    /// With these networks.
    pub fn with(segmenter: Box<dyn SpeakerSegmenter>, embedder: Box<dyn SpeakerEmbedder>) -> Self {
        let places = Arc::new(Places::new(2));
        Self { engine: DiarizationEngine::new(segmenter, embedder, Arc::clone(&places)), places }
    }

    /// With the networks that come with the program.
    pub fn bundled() -> Self {
        Self::with(segmenter(), ge2e())
    }

    /// What the networks give for a whole recording.
    pub fn listen(&self, samples: &[f32], step: SampleIndex) -> Vec<WindowNumbers> {
        self.hear(&spool(samples), &CancelToken::new(), step).expect("it runs").1
    }

    fn hear(
        &self,
        spool: &PcmSpool,
        cancel: &CancelToken,
        step: SampleIndex,
    ) -> Result<(Grid, Vec<WindowNumbers>), DiarizationError> {
        let mut all = Vec::new();
        let sound = Sound { spool, speech: None, cancel };
        let grid = self.engine.listen(&sound, step, &Team::new(&self.places, cancel), &mut |numbers| {
            all.push(numbers);
        })?;
        Ok((grid, all))
    }
}

/// The segmentation network that comes with the program.
pub fn segmenter() -> Box<dyn SpeakerSegmenter> {
    let [filters, rest] = segmentation_files().map(|path| (fs::read(&path).expect("the network"), path));
    Box::new(SplitSegmenter::new((&filters.0, &filters.1), (&rest.0, &rest.1)).expect("it loads"))
}

/// The files of its pieces.
pub fn segmentation_files() -> [PathBuf; 2] {
    ["filters", "rest"].map(|piece| in_repository(&format!("models/segmentation-3.0.{piece}.onnx")))
}

/// The encoder that comes with the program.
pub fn ge2e() -> Box<dyn SpeakerEmbedder> {
    let path = in_repository("models/ge2e_resemblyzer_int8.onnx");
    Box::new(Ge2eEmbedder::new(&fs::read(&path).expect("the network"), &path, method()).expect("it loads"))
}

fn method() -> Method {
    let tables = fs::read(in_repository("models/ge2e_lda64.safetensors")).expect("the tables");
    tables::ge2e(&tables).expect("tables")
}

fn writer() -> SpoolWriter {
    let folder = tempfile::tempdir().expect("a temporary folder");
    SpoolWriter::create(&Scratch::within(folder.path())).expect("a spool")
}

fn spool(samples: &[f32]) -> Arc<PcmSpool> {
    let mut writer = writer();
    writer.push(samples).expect("room");
    writer.finish().expect("room")
}

/// Hears one speaker throughout, after `before` each window.
struct Scripted<F>(F);

impl<F: Fn(&[f32]) + Send + Sync> SpeakerSegmenter for Scripted<F> {
    fn open<'a>(&'a self, _sound: &'a dyn Samples) -> Box<dyn WindowSegmenter + 'a> {
        Box::new(self)
    }
}

impl<F: Fn(&[f32]) + Send + Sync> WindowSegmenter for &Scripted<F> {
    fn segment(&self, windows: &[Window<'_>]) -> Result<Vec<Activity>, DiarizationError> {
        windows.iter().for_each(|window| (self.0)(window.samples));
        Ok(vec![Activity::of(&[1; FRAMES]); windows.len()])
    }
}

/// Hears each window by itself, so that its company makes no difference.
pub struct OneByOne(pub Box<dyn SpeakerSegmenter>);

struct OneByOneListener<'a>(Box<dyn WindowSegmenter + 'a>);

impl SpeakerSegmenter for OneByOne {
    fn open<'a>(&'a self, sound: &'a dyn Samples) -> Box<dyn WindowSegmenter + 'a> {
        Box::new(OneByOneListener(self.0.open(sound)))
    }

    fn lookahead(&self) -> SampleIndex {
        self.0.lookahead()
    }
}

impl WindowSegmenter for OneByOneListener<'_> {
    fn segment(&self, windows: &[Window<'_>]) -> Result<Vec<Activity>, DiarizationError> {
        windows.chunks(1).map(|window| Ok(self.0.segment(window)?.remove(0))).collect()
    }
}

/// Knows who is active in every window.
pub struct Told(pub Activity);

impl SpeakerSegmenter for Told {
    fn open<'a>(&'a self, _sound: &'a dyn Samples) -> Box<dyn WindowSegmenter + 'a> {
        Box::new(self)
    }
}

impl WindowSegmenter for &Told {
    fn segment(&self, windows: &[Window<'_>]) -> Result<Vec<Activity>, DiarizationError> {
        Ok(vec![self.0.clone(); windows.len()])
    }
}

/// Gives each window its start as a voice, a block late.
struct Late;

struct LateListener {
    waiting: Vec<HeardWindow>,
}

impl SpeakerEmbedder for Late {
    fn method(&self) -> Method {
        method()
    }

    fn open<'a>(&'a self, _sound: &'a dyn Samples) -> Box<dyn VoiceListener + 'a> {
        Box::new(LateListener { waiting: Vec::new() })
    }
}

impl VoiceListener for LateListener {
    fn hear(
        &mut self,
        windows: Vec<HeardWindow>,
        horizon: Horizon,
        _team: &Team<'_>,
    ) -> Result<Vec<WindowNumbers>, DiarizationError> {
        let mut finished = std::mem::replace(&mut self.waiting, windows);
        if matches!(horizon, Horizon::End(_)) {
            finished.append(&mut self.waiting);
        }
        let numbers = finished.into_iter().map(|window| WindowNumbers {
            embeddings: [Some(Box::from([window.start as f32])), None, None],
            activity: window.activity,
        });
        Ok(numbers.collect())
    }
}

/// Not silent anywhere.
fn sound(seconds: usize) -> Vec<f32> {
    (0..seconds * 16_000).map(|n| 0.1 + (n % 7) as f32 / 100.0).collect()
}

#[test]
fn every_window_comes_once_and_in_order() {
    let listening = Listening::with(Box::new(Scripted(|_: &[f32]| ())), Box::new(Late));
    for seconds in [0, 1, 10, 11, 74, 300] {
        let samples = sound(seconds);
        let (grid, windows) = listening.hear(&spool(&samples), &CancelToken::new(), 16_000).expect("it runs");
        assert_eq!(grid, Grid { step: 16_000, length: samples.len() as u64 });
        let starts: Vec<f32> =
            windows.iter().map(|window| window.embeddings[0].as_deref().unwrap()[0]).collect();
        let expected: Vec<f32> = (0..grid.windows()).map(|window| grid.start(window) as f32).collect();
        assert_eq!(starts, expected, "{seconds} s");
    }
}

#[test]
fn a_growing_recording_gives_what_a_finished_one_gives() {
    let samples: Vec<f32> = fixture().into_iter().cycle().take(55 * 16_000).collect();
    let listening = Listening::bundled();
    let whole = listening.listen(&samples, 40_000);
    let mut writer = writer();
    let spool = writer.spool();
    let growing = thread::scope(|scope| {
        scope.spawn(move || {
            for piece in samples.chunks(70_001) {
                writer.push(piece).expect("room");
                thread::sleep(Duration::from_millis(1));
            }
            writer.finish().expect("room");
        });
        listening.hear(&spool, &CancelToken::new(), 40_000).expect("it runs").1
    });
    assert_eq!(whole.len(), growing.len());
    for (whole, growing) in whole.iter().zip(&growing) {
        assert_eq!((&whole.activity, &whole.embeddings), (&growing.activity, &growing.embeddings));
    }
}

#[test]
fn silent_windows_are_not_given_to_the_networks() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let segmenter =
        Scripted(move |window: &[f32]| seen.lock().unwrap().push(window.iter().any(|s| *s != 0.0)));
    let listening = Listening::with(Box::new(segmenter), Box::new(Late));
    // Ten seconds of sound, thirty of digital silence, ten of sound; voice activity finds none in the last ten.
    let samples = [sound(10), vec![0.0; 30 * 16_000], sound(10)].concat();
    let (spool, cancel) = (spool(&samples), CancelToken::new());
    let speech = |span: TimeSpan| -> Result<bool, AudioError> { Ok(span.start < 30 * 16_000) };
    let sound = Sound { spool: &spool, speech: Some(&speech), cancel: &cancel };
    let mut windows = Vec::new();
    let team = Team::new(&listening.places, &cancel);
    listening.engine.listen(&sound, WINDOW, &team, &mut |numbers| windows.push(numbers)).expect("it runs");
    let is_silent: Vec<bool> = windows.iter().map(|window| window.activity.is_silent()).collect();
    assert_eq!(is_silent, [false, true, true, true, true]);
    assert_eq!(*asked.lock().unwrap(), [true]);
}

#[test]
fn a_panic_in_a_network_is_an_error_of_that_request_alone() {
    let calls = AtomicUsize::new(0);
    let segmenter = Scripted(move |_: &[f32]| {
        assert!(calls.fetch_add(1, Ordering::Relaxed) != 3, "on purpose");
    });
    let listening = Listening::with(Box::new(segmenter), Box::new(Late));
    let samples = sound(60);
    let broken = listening.hear(&spool(&samples), &CancelToken::new(), 16_000);
    assert!(matches!(broken, Err(DiarizationError::Engine(_))));
    assert_eq!(listening.listen(&samples, 16_000).len(), 51);
}

#[test]
fn a_cancelled_request_ends_in_the_middle_of_a_block() {
    let (cancel, calls) = (CancelToken::new(), Arc::new(Mutex::new(0)));
    let (token, counted) = (cancel.clone(), Arc::clone(&calls));
    let segmenter = Scripted(move |_: &[f32]| {
        // Under the lock, so that no other thread is heard between the count and the cancelling.
        let mut count = counted.lock().unwrap();
        *count += 1;
        if *count == 5 {
            token.cancel();
        }
    });
    let listening = Listening::with(Box::new(segmenter), Box::new(Late));
    let ended = listening.hear(&spool(&sound(120)), &cancel, 16_000);
    assert!(matches!(ended, Err(DiarizationError::Audio(AudioError::Cancelled))));
    let (calls, threads) = (*calls.lock().unwrap(), listening.places.count());
    assert!(calls < 5 + threads * TOGETHER, "{calls} windows: each thread ends after those it has in hand");
}

#[test]
fn a_recording_that_cannot_be_decoded_further_ends_the_waiting() {
    let mut writer = writer();
    writer.push(&sound(20)).expect("room");
    let spool = writer.spool();
    let listening = Listening::with(Box::new(Scripted(|_: &[f32]| ())), Box::new(Late));
    let ended = thread::scope(|scope| {
        let listener = scope.spawn(|| listening.hear(&spool, &CancelToken::new(), 16_000));
        drop(writer);
        listener.join().expect("no panic")
    });
    assert!(matches!(ended, Err(DiarizationError::Audio(AudioError::Cancelled))));
}

#[test]
fn a_reference_without_speech_is_refused_by_its_place() {
    let cancel = CancelToken::new();
    let voice = |name: &str, clip: Vec<f32>| KnownVoice { name: name.to_owned(), clip };
    let good = || voice("somebody", fixture()[8_000..48_000].to_vec());
    let engine = Listening::bundled().engine;
    for useless in [Vec::new(), vec![0.0; 32_000], fixture()[8_000..12_000].to_vec()] {
        let known = [good(), voice("nobody", useless)];
        let refused = engine.learn(&known, &cancel);
        let Err(DiarizationError::Reference { index, reason }) = refused else { panic!("not refused") };
        assert_eq!(index, 1);
        assert!(reason.contains("too little speech"), "{reason}");
    }
    assert_eq!(engine.learn(&[good()], &cancel).unwrap()[0].name, "somebody");
}
