//! Voices out of music on their way through the pipeline. The separator is a filter with a script; everything else is
//! real.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use diarist::audio::AudioSource;
use diarist::cancel::CancelToken;
use diarist::diarization::{
    Diarization, DiarizationError, DiarizationOptions, KnownVoice, LearnedVoice, Sound,
};
use diarist::error::ErrorKind;
use diarist::models::ModelError;
use diarist::output::{RenderOptions, ResponseFormat, render};
use diarist::pipeline::speakers::Diarizer;
use diarist::pipeline::{
    Control, DiarizationRequest, Event, LentSeparator, Pipeline, PipelineError, Request, SeparationMode,
    SpeakerOptions, Stage,
};
use diarist::scratch::{Scratch, ScratchOptions};
use diarist::separation::stft::Stft;
use diarist::separation::{SeparationError, SeparatorSpec, VocalSeparator};
use diarist::server::Parts;
use diarist::time::{TimeSpan, samples_to_seconds, seconds_to_samples};
use diarist::transcript::{Transcript, VocalSeparation};

use crate::songs::{Song, slow_song, song, talk, word_error_rate};
use crate::support::{fixture, parts, request, settings, silero};

/// Told the number of each window, from 0, before it is heard.
type Script = Arc<dyn Fn(usize) -> Result<(), SeparationError> + Send + Sync>;

/// Keeps the band of a voice, as the demonstration model does.
struct Band {
    stft: Stft,
    windows: Arc<AtomicUsize>,
    script: Script,
}

const SPEC: SeparatorSpec = SeparatorSpec { sample_rate: 44_100, window: 128 * 512, hop: 512, margin: 2_048 };

impl VocalSeparator for Band {
    fn spec(&self) -> SeparatorSpec {
        SPEC
    }

    fn separate(&self, mix: &[Vec<f32>], voice: &mut [Vec<f32>]) -> Result<(), SeparationError> {
        (self.script)(self.windows.fetch_add(1, Ordering::SeqCst))?;
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
    folder: tempfile::TempDir,
}

fn bench() -> Bench {
    scripted(|_| Ok(()))
}

fn scripted(script: impl Fn(usize) -> Result<(), SeparationError> + Send + Sync + 'static) -> Bench {
    limited(0, script)
}

/// With at most so many bytes of temporary files.
fn limited(
    max_bytes: u64,
    script: impl Fn(usize) -> Result<(), SeparationError> + Send + Sync + 'static,
) -> Bench {
    let windows = Arc::new(AtomicUsize::new(0));
    let band = Band {
        stft: Stft::new(2_048, 512).unwrap(),
        windows: Arc::clone(&windows),
        script: Arc::new(script),
    };
    let folder = tempfile::tempdir().unwrap();
    let parent = folder.path().to_owned();
    let scratch = Scratch::open(&ScratchOptions { parent, min_free_bytes: 0, max_bytes }).unwrap();
    let mut options = settings().pipeline();
    options.audio.scratch = scratch.clone();
    let lent = LentSeparator { id: "band".into(), separator: Arc::new(band) };
    let pipeline = Pipeline::new(options, Arc::clone(&parts().models), silero());
    let pipeline = pipeline.with_separators(Box::new(move || Ok(lent.clone())));
    Bench { pipeline, scratch, windows, folder }
}

fn asked(path: &Path, mode: SeparationMode) -> Request {
    Request { separation: Some(mode), ..request(path) }
}

impl Bench {
    fn written(&self, song: &Song) -> PathBuf {
        let path = self.folder.path().join("song.wav");
        song.write(&path);
        path
    }

    fn hear(&self, path: &Path, mode: SeparationMode) -> Transcript {
        self.pipeline.run(&asked(path, mode), &Control::default()).unwrap().transcript
    }

    /// How a request that fails ends; it must leave nothing.
    fn fails(&self, path: &Path, control: &Control) -> PipelineError {
        let error = self.pipeline.run(&asked(path, SeparationMode::On), control).unwrap_err();
        assert_eq!(self.scratch.bytes(), 0, "all sound is gone");
        error
    }

    fn windows(&self) -> usize {
        self.windows.load(Ordering::SeqCst)
    }
}

fn body(transcript: &Transcript, format: ResponseFormat) -> String {
    render(transcript, format, &RenderOptions { words: true, ..RenderOptions::default() }).body
}

#[test]
fn speech_under_music_is_understood_better_once_its_voice_is_separated() {
    let bench = bench();
    let song = song(0, 12);
    let path = bench.written(&song);
    let [off, auto, on] = SeparationMode::ALL.map(|mode| bench.hear(&path, mode));
    let rate = |transcript: &Transcript| word_error_rate(&song.text(), &transcript.text());
    let rates = [rate(&off), rate(&auto), rate(&on)];
    println!(
        "word error rates: without separation {:.3}, auto {:.3}, on {:.3}",
        rates[0], rates[1], rates[2]
    );
    assert!(rates[0] > 0.25 && rates[1] < rates[0] / 2.0 && rates[2] < rates[0] / 2.0);
    assert_eq!(off.separation, None);
    for transcript in [auto, on] {
        let separation = transcript.separation.unwrap();
        assert_eq!(separation.regions, [TimeSpan::new(0, off.duration)], "music plays from end to end");
        let chunks = separation.chunks.unwrap();
        assert!(chunks.voice > chunks.mix && chunks.voice + chunks.mix >= 12, "{chunks:?}");
    }
}

#[test]
fn only_music_is_separated_where_separation_is_automatic() {
    let bench = bench();
    let (start, music) = (talk(4, 10), song(0, 5));
    let (before, under) = (start.seconds(), music.seconds());
    let path = bench.written(&start.followed_by(music).followed_by(talk(14, 10)));
    let off = bench.hear(&path, SeparationMode::Off);
    assert_eq!(bench.windows(), 0);
    let auto = bench.hear(&path, SeparationMode::Auto);
    let VocalSeparation { regions, samples, chunks, .. } = auto.separation.clone().unwrap();
    let seconds: Vec<_> =
        regions.iter().map(|span| (samples_to_seconds(span.start), samples_to_seconds(span.end))).collect();
    println!("speech until {before:.1} s, then music until {:.1} s; separated {seconds:.1?}", before + under);
    let [(start, end)] = seconds[..] else { panic!("one region: {seconds:?}") };
    // Music is found by the second, and windows are longer than one.
    assert!((before - 3.5..=before + 0.5).contains(&start));
    assert!((before + under - 0.5..=before + under + 3.5).contains(&end));
    assert_eq!(samples, regions[0].len());
    assert!(chunks.unwrap().voice + chunks.unwrap().mix < 9, "the others are heard once: {chunks:?}");

    // Before it, nothing is different; behind it, voice activity remembers other sound, and the edges may differ.
    let segments = |transcript: &Transcript, from: f64, to: f64| -> Vec<(TimeSpan, String, f32)> {
        let segments = transcript.segments.to_vec().unwrap().into_iter();
        let inside = segments.filter(|segment| {
            samples_to_seconds(segment.span.start) > from && samples_to_seconds(segment.span.end) < to
        });
        inside.map(|segment| (segment.span, segment.text, segment.avg_logprob)).collect()
    };
    let before = [&off, &auto].map(|transcript| segments(transcript, 0.0, start - 1.0));
    assert!(before[0].len() >= 9 && before[0] == before[1]);
    let texts = |transcript| -> Vec<String> {
        segments(transcript, end + 1.0, f64::MAX).into_iter().map(|(_, text, _)| text).collect()
    };
    assert!(texts(&off).len() >= 7);
    assert_eq!(texts(&auto), texts(&off));
}

#[test]
fn clean_recordings_give_the_same_bytes_whether_separation_is_automatic_or_off() {
    let bench = bench();
    let clean = bench.written(&talk(0, 10));
    for path in [fixture("audio/hello.flac"), fixture("audio/scenes/telephone.flac"), clean] {
        let [off, auto] = [SeparationMode::Off, SeparationMode::Auto].map(|mode| bench.hear(&path, mode));
        for format in [ResponseFormat::VerboseJson, ResponseFormat::Srt] {
            assert_eq!(body(&auto, format), body(&off, format), "{}", path.display());
        }
        assert_eq!(auto.separation, None);
    }
    assert_eq!(bench.windows(), 0, "the model is not run");
}

#[test]
fn short_recordings_and_the_time_of_the_stage() {
    let bench = bench();
    for name in ["audio/sentences/006.flac", "audio/silence.wav", "audio/tone.flac"] {
        let request = asked(&fixture(name), SeparationMode::On);
        let outcome = bench.pipeline.run(&request, &Control::default()).unwrap();
        let transcript = outcome.transcript;
        let separation = transcript.separation.unwrap();
        assert_eq!(separation.regions, [TimeSpan::new(0, transcript.duration)], "{name}");
        let stages: Vec<_> = outcome.timings.iter().map(|(stage, _)| *stage).collect();
        assert_eq!(stages[..2], [Stage::Decode, Stage::Separation]);
    }
}

#[test]
fn a_separator_that_fails_ends_its_request_with_its_own_error() {
    for failing in [0, 2] {
        let bench = scripted(move |window| match window {
            now if now == failing => Err(SeparationError::Engine("scripted".into())),
            _ => Ok(()),
        });
        let path = bench.written(&song(0, 6));
        let error = bench.fails(&path, &Control::default());
        assert!(matches!(&error, PipelineError::Separation(SeparationError::Engine(_))), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Internal);
        // Counted on from there, it does not fail again.
        assert!(bench.hear(&path, SeparationMode::On).separation.is_some());
    }
}

#[test]
fn a_separator_that_panics_leaves_nothing_and_the_next_request_is_right() {
    let bench = scripted(|window| if window == 1 { panic!("scripted") } else { Ok(()) });
    let path = bench.written(&song(0, 6));
    let request = asked(&path, SeparationMode::On);
    catch_unwind(AssertUnwindSafe(|| bench.pipeline.run(&request, &Control::default()))).unwrap_err();
    assert_eq!(bench.scratch.bytes(), 0);
    assert!(bench.hear(&path, SeparationMode::On).separation.is_some());
}

#[test]
fn a_request_that_is_taken_back_runs_no_further_window() {
    let cancel = CancelToken::new();
    let token = cancel.clone();
    let bench = scripted(move |window| {
        if window == 1 {
            token.cancel();
        }
        Ok(())
    });
    let path = bench.written(&song(0, 12));
    let error = bench.fails(&path, &Control::new(cancel));
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(bench.windows(), 2);
}

#[test]
fn a_disk_without_room_for_the_voice_is_told_as_that() {
    let song = song(0, 12);
    // The mix fits, the voice's own track beside it does not.
    let mix = seconds_to_samples(song.seconds()) * 2;
    let bench = limited(mix + mix / 2, |_| Ok(()));
    let path = bench.written(&song);
    let error = bench.fails(&path, &Control::default());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let unseparated = asked(&path, SeparationMode::Off);
    bench.pipeline.run(&unseparated, &Control::default()).unwrap();
}

#[test]
fn a_model_that_is_missing_or_of_no_use_is_an_error_and_never_a_silent_skip() {
    type Refusal = fn() -> ModelError;
    let missing: Refusal = || ModelError::NotInstalled { id: "kim-vocal-2".into() };
    let damaged: Refusal =
        || ModelError::Unusable { id: "kim-vocal-2".into(), reason: "it is damaged".into() };
    for (refusal, kind, word) in [
        (missing, ErrorKind::ModelIncapable, "`diarist models pull kim-vocal-2`"),
        (damaged, ErrorKind::ModelUnusable, "it is damaged"),
    ] {
        // Wanted by the setting, not by the request.
        let mut options = settings().pipeline();
        options.separation = SeparationMode::Auto;
        let pipeline = Pipeline::new(options, Arc::clone(&parts().models), silero());
        let pipeline = pipeline.with_separators(Box::new(move || Err(refusal())));
        let hello = request(&fixture("audio/hello.flac"));
        let error = pipeline.run(&hello, &Control::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        let off = Request { separation: Some(SeparationMode::Off), ..hello };
        pipeline.run(&off, &Control::default()).unwrap();
    }
}

#[test]
fn the_first_text_comes_while_the_rest_is_still_being_separated() {
    let bench = scripted(|_| {
        std::thread::sleep(std::time::Duration::from_millis(60));
        Ok(())
    });
    let path = bench.folder.path().join("long.wav");
    song(0, 12).write_again_and_again(&path, 120.0);
    let at_text = Arc::new(AtomicUsize::new(0));
    let (told, windows) = (Arc::clone(&at_text), Arc::clone(&bench.windows));
    let control = Control::with_listener(CancelToken::new(), move |event| {
        if matches!(event, Event::Segment(_)) {
            let now = windows.load(Ordering::SeqCst);
            let _ = told.compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst);
        }
    });
    bench.pipeline.run(&asked(&path, SeparationMode::On), &control).unwrap();
    let (at_text, in_all) = (at_text.load(Ordering::SeqCst), bench.windows());
    assert!(at_text > 0 && at_text < in_all / 2, "the first text came after {at_text} of {in_all} windows");
}

/// Keeps what it hears, and finds nobody.
struct Recorder(Arc<Mutex<Vec<f32>>>);

impl Diarizer for Recorder {
    fn learn(&self, _: &[KnownVoice], _: &CancelToken) -> Result<Vec<LearnedVoice>, DiarizationError> {
        Ok(Vec::new())
    }

    fn diarize(
        &self,
        sound: &Sound<'_>,
        _: &[LearnedVoice],
        _: &DiarizationOptions,
    ) -> Result<Diarization, DiarizationError> {
        let end = sound.spool.wait_for(u64::MAX)?;
        sound.spool.read(TimeSpan::new(0, end), &mut self.0.lock().unwrap());
        Ok(Diarization::default())
    }
}

#[test]
fn speakers_are_told_apart_by_the_voice_alone() {
    let heard: Arc<Mutex<Vec<f32>>> = Arc::default();
    let recorder = Arc::clone(&heard);
    let Bench { pipeline, folder, .. } = bench();
    let pipeline = pipeline
        .with_diarizers(Box::new(move || Ok(Box::new(Recorder(Arc::clone(&recorder))) as Box<dyn Diarizer>)));
    let path = folder.path().join("song.wav");
    song(0, 4).write(&path);
    let power = |separation| {
        let source = AudioSource { path: path.clone(), name: None };
        let request = DiarizationRequest { source, speakers: SpeakerOptions::default(), separation };
        let conversation = pipeline.diarize(&request, &Control::default()).unwrap().conversation;
        let alone = heard.lock().unwrap().clone();
        assert_eq!(alone.len() as u64, conversation.duration);
        // The same sound reaches it beside recognition.
        let speakers = Some(SpeakerOptions::default());
        let beside = Request { speakers, separation, ..crate::support::request(&path) };
        pipeline.run(&beside, &Control::default()).unwrap();
        assert_eq!(*heard.lock().unwrap(), alone);
        (alone.iter().map(|sample| sample * sample).sum::<f32>(), conversation.separation)
    };
    let (mix, nothing) = power(None);
    let (voice, separation) = power(Some(SeparationMode::On));
    assert!(voice < mix / 4.0, "most of the power was music's: {voice} of {mix}");
    assert_eq!(nothing, None);
    assert_eq!(separation.unwrap().chunks, None, "no text, no chunks");
}

/// The bundled models, the demonstration filter among them.
fn with_voice_band() -> Parts {
    let mut settings = settings();
    settings.separation_model = "voice-band".to_owned();
    Parts::assemble(&settings).unwrap()
}

#[test]
fn the_demonstration_model_helps_with_speech_under_music_and_leaves_clean_speech_alone() {
    let (parts, folder) = (with_voice_band(), tempfile::tempdir().unwrap());
    let hear =
        |path: &Path, mode| parts.pipeline.run(&asked(path, mode), &Control::default()).unwrap().transcript;
    let (song, path) = (song(0, 12), folder.path().join("song.wav"));
    song.write(&path);
    let rates = SeparationMode::ALL.map(|mode| {
        let transcript = hear(&path, mode);
        let rate = word_error_rate(&song.text(), &transcript.text());
        println!("{}: word error rate {rate:.3}, {:?}", mode.name(), transcript.separation);
        assert_eq!(transcript.separation.is_some(), mode != SeparationMode::Off);
        rate
    });
    assert!(rates[0] > 0.25 && rates[1] < rates[0] / 2.0 && rates[2] < rates[0] / 2.0);

    let clean = folder.path().join("clean.wav");
    talk(0, 10).write(&clean);
    for path in [clean, fixture("audio/hello.flac")] {
        let [off, auto] = [SeparationMode::Off, SeparationMode::Auto].map(|mode| hear(&path, mode));
        for format in [ResponseFormat::VerboseJson, ResponseFormat::Srt] {
            assert_eq!(body(&auto, format), body(&off, format), "{}", path.display());
        }
    }
    assert!(parts.separation.status().iter().any(|model| model.memory_bytes > 0), "it was loaded");
}

#[test]
fn twenty_minutes_are_separated_in_the_memory_of_two() {
    let folder = tempfile::tempdir().unwrap();
    let song = slow_song(0, 12, 4.0);
    let peaks = [2.0, 20.0].map(|minutes| {
        let path = folder.path().join("song.wav");
        song.write_again_and_again(&path, minutes * 60.0);
        let curve = memory_of_separating(&path, folder.path());
        let peak = curve.iter().copied().max().unwrap_or(0);
        let parts = curve.chunks(curve.len().div_ceil(12).max(1));
        let shown: Vec<_> = parts.map(|part| part.iter().max().unwrap() / 1024).collect();
        println!("{minutes} min: at most {} MiB of its own; over time {shown:?}", peak / 1024);
        peak
    });
    assert!(peaks[1] <= peaks[0] + 64 * 1024, "{peaks:?} KiB");
}

/// Transcribes with the built program; its own memory in KiB, from start to end.
fn memory_of_separating(recording: &Path, folder: &Path) -> Vec<u64> {
    let mut process = crate::support::program()
        .args(["transcribe", "--quiet", "--format", "verbose-json", "--vocal-separation", "on"])
        .args(["--set", "separation_model=voice-band", "--output-dir"])
        .arg(folder)
        .arg(recording)
        .spawn()
        .unwrap();
    let mut curve = Vec::new();
    while process.try_wait().unwrap().is_none() {
        curve.push(crate::support::anonymous_kib(process.id()));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(process.wait().unwrap().success());
    let body = std::fs::read_to_string(folder.join("song.json")).unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["separation"]["seconds"], body["duration"], "all of it was separated");
    assert!(body["separation"]["chunks"]["voice"].as_u64().unwrap() > 5, "{}", body["separation"]);
    curve
}
