//! Telling speakers apart beside recognition: what reaches the diarizer, what becomes of its turns, and how either of
//! the two ends the other. The diarizer is scripted; everything else is real.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use diarist::audio::{AudioError, AudioSource};
use diarist::cancel::CancelToken;
use diarist::diarization::{
    Diarization, DiarizationError, DiarizationOptions, KnownVoice, LearnedVoice, Sound, SpeakerLimits, Voice,
};
use diarist::error::ErrorKind;
use diarist::models::ModelError;
use diarist::pipeline::speakers::Diarizer;
use diarist::pipeline::{
    Control, DiarizationRequest, Event, KnownSpeaker, Pipeline, PipelineError, Request, SpeakerOptions, Stage,
};
use diarist::scratch::Scratch;
use diarist::time::{TimeSpan, ms_to_samples, seconds_to_samples};
use diarist::transcript::{SpeakerId, SpeakerTurn};
use diarist::vad::{SileroVad, VadError, VadSpec, VoiceActivityDetector};
use serde_json::Value;

use crate::support::{fixture, long_recording, parts, request, settings};

type Answer = Result<Diarization, DiarizationError>;
type Script = Arc<dyn Fn(&Sound<'_>, &[LearnedVoice], &DiarizationOptions) -> Answer + Send + Sync>;

/// Does what its script says.
struct Scripted(Script);

impl Diarizer for Scripted {
    /// A clip sounds like its length. What is silent is refused.
    fn learn(
        &self,
        known: &[KnownVoice],
        _cancel: &CancelToken,
    ) -> Result<Vec<LearnedVoice>, DiarizationError> {
        let silent = known.iter().position(|voice| voice.clip.iter().all(|sample| *sample == 0.0));
        if let Some(index) = silent {
            return Err(DiarizationError::Reference { index, reason: "is silent".into() });
        }
        let learned = |voice: &KnownVoice| LearnedVoice {
            name: voice.name.clone(),
            embedding: vec![voice.clip.len() as f32],
        };
        Ok(known.iter().map(learned).collect())
    }

    fn diarize(&self, sound: &Sound<'_>, known: &[LearnedVoice], options: &DiarizationOptions) -> Answer {
        (self.0)(sound, known, options)
    }
}

/// Silero, until it breaks down on its first sound.
struct Fragile(SileroVad, bool);

impl VoiceActivityDetector for Fragile {
    fn spec(&self) -> VadSpec {
        self.0.spec()
    }

    fn probabilities(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), VadError> {
        assert!(!self.1, "scripted");
        self.0.probabilities(samples, out)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

/// The real pipeline with a scripted diarizer; temporary files lie in a folder of its own.
struct Bench {
    pipeline: Pipeline,
    scratch: Scratch,
    _folder: tempfile::TempDir,
}

fn pipeline(
    breaks: bool,
    script: impl Fn(&Sound<'_>, &[LearnedVoice], &DiarizationOptions) -> Answer + Send + Sync + 'static,
) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let mut options = settings().pipeline();
    options.audio.scratch = Scratch::within(folder.path());
    let scratch = options.audio.scratch.clone();
    let path = parts().catalogue.voice_activity().unwrap().path.unwrap();
    let vads = Box::new(move || {
        let vad = Fragile(SileroVad::load(&path)?, breaks);
        Ok::<_, VadError>(Box::new(vad) as Box<dyn VoiceActivityDetector>)
    });
    let script: Script = Arc::new(script);
    let pipeline = Pipeline::new(options, Arc::clone(&parts().models), vads);
    let pipeline = pipeline
        .with_diarizers(Box::new(move || Ok(Box::new(Scripted(Arc::clone(&script))) as Box<dyn Diarizer>)));
    Bench { pipeline, scratch, _folder: folder }
}

fn diarized(path: &Path) -> Request {
    Request { speakers: Some(SpeakerOptions::default()), ..request(path) }
}

/// The sentences of the dialogue: text, span, and whether the second voice says it.
fn dialogue() -> Vec<(String, TimeSpan, u32)> {
    let text = std::fs::read_to_string(fixture("expected/dialogue.json")).unwrap();
    let truth: Value = serde_json::from_str(&text).unwrap();
    let first = truth["segments"][0]["voice"].clone();
    let sentence = |segment: &Value| {
        let at = |field: &str| seconds_to_samples(segment[field].as_f64().unwrap());
        let span = TimeSpan::new(at("start"), at("end"));
        (segment["text"].as_str().unwrap().to_owned(), span, u32::from(segment["voice"] != first))
    };
    truth["segments"].as_array().unwrap().iter().map(sentence).collect()
}

/// The truth as a diarizer would give it, its speakers the wrong way round.
fn true_turns() -> Diarization {
    let turn = |(_, span, who): (String, TimeSpan, u32)| SpeakerTurn { span, speaker: SpeakerId(1 - who) };
    let turns: Vec<_> = dialogue().into_iter().map(turn).collect();
    Diarization { exclusive: turns.clone(), turns, voices: vec![Voice::default(); 2] }
}

#[test]
fn every_sentence_of_a_dialogue_has_its_speaker() {
    let stage = pipeline(false, |_, _, _| Ok(true_turns()));
    let outcome =
        stage.pipeline.run(&diarized(&fixture("audio/dialogue.flac")), &Control::default()).unwrap();
    let transcript = outcome.transcript;
    let heard: Vec<_> = transcript
        .segments
        .to_vec()
        .unwrap()
        .into_iter()
        .map(|segment| (segment.text.trim().to_owned(), segment.speaker.unwrap().0))
        .collect();
    let truth: Vec<_> = dialogue().into_iter().map(|(text, _, who)| (text, who)).collect();
    assert_eq!(heard, truth);
    assert_eq!((transcript.speakers.len(), transcript.turns[0].speaker), (2, SpeakerId(0)));
    let stages: Vec<_> = outcome.timings.iter().map(|(stage, _)| *stage).collect();
    assert!(stages.contains(&Stage::Diarization) && stages.contains(&Stage::Merge), "{stages:?}");
}

#[test]
fn words_are_kept_only_where_they_were_asked_for() {
    let stage = pipeline(false, |_, _, _| Ok(true_turns()));
    for word_times in [false, true] {
        let request = Request { word_times, ..diarized(&fixture("audio/dialogue.flac")) };
        let transcript = stage.pipeline.run(&request, &Control::default()).unwrap().transcript;
        let segments = transcript.segments.to_vec().unwrap();
        assert!(segments.iter().all(|segment| segment.speaker.is_some()));
        assert!(segments.iter().all(|segment| segment.words.is_empty() != word_times));
    }
}

#[test]
fn the_diarizer_hears_what_is_asked_and_where_nobody_speaks() {
    let told: Arc<Mutex<Vec<(TimeSpan, bool)>>> = Arc::default();
    let asked = Arc::clone(&told);
    let stage = pipeline(false, move |sound, known, options| {
        assert_eq!((options.step, options.limits), (16_000, SpeakerLimits::exactly(2)));
        assert_eq!((known[0].name.as_str(), known[0].embedding[0] as u64 / 16_000), ("Ann", 3));
        let speech = sound.speech.expect("voice activity is looked for");
        // Behind the end too: the whole recording must have been listened to for that.
        for start_s in 0..120 {
            let span = TimeSpan::new(start_s * 16_000, start_s * 16_000 + 16_000);
            asked.lock().unwrap().push((span, speech(span)?));
        }
        assert_eq!(sound.spool.total(), Some(sound.spool.len()));
        Ok(Diarization::default())
    });
    let folder = tempfile::tempdir().unwrap();
    // The dialogue, and silence after it.
    let path = folder.path().join("padded.wav");
    let source = AudioSource { path: fixture("audio/dialogue.flac"), name: None };
    let spool = diarist::audio::decode_to_spool(&source, &settings().pipeline().audio, &CancelToken::new())
        .unwrap()
        .spool;
    let mut samples = Vec::new();
    spool.read(TimeSpan::new(0, spool.len()), &mut samples);
    let mut writer = crate::support::wav_writer(&path);
    samples.iter().for_each(|sample| writer.write_sample((sample * 32_767.0) as i16).unwrap());
    (0..60 * 16_000).for_each(|_| writer.write_sample(0_i16).unwrap());
    writer.finalize().unwrap();

    let clip = AudioSource { path: fixture("audio/sentences/001.flac"), name: None };
    let speakers = SpeakerOptions {
        step: Some(16_000),
        limits: SpeakerLimits::exactly(2),
        known: vec![KnownSpeaker { name: "Ann".into(), clip }],
        ..SpeakerOptions::default()
    };
    let request = Request { speakers: Some(speakers), ..request(&path) };
    let transcript = stage.pipeline.run(&request, &Control::default()).unwrap().transcript;
    assert!(transcript.segments.to_vec().unwrap().iter().all(|segment| segment.speaker.is_none()));
    assert_eq!(transcript.known_names, ["Ann"], "whoever is not heard has a name too");
    let told = told.lock().unwrap();
    for (_, spoken, _) in dialogue() {
        assert!(told.iter().all(|(span, may_be)| *may_be || span.common(spoken) < ms_to_samples(500)));
    }
    let silent = told.iter().filter(|(span, may_be)| span.start > 32 * 16_000 && !may_be).count();
    assert!(silent > 80, "{silent} of 87 silent seconds were spared");
}

#[test]
fn a_diarizer_that_fails_ends_the_request_with_its_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    let sentences = long_recording(&path, 300).len();
    let stage = pipeline(false, |sound, _, _| {
        sound.spool.wait_for(160_000)?;
        Err(DiarizationError::Engine("scripted".into()))
    });
    let heard = Arc::new(Mutex::new(0));
    let count = Arc::clone(&heard);
    let control = Control::with_listener(CancelToken::new(), move |event| {
        if let Event::Segment(_) = event {
            *count.lock().unwrap() += 1;
        }
    });
    let error = stage.pipeline.run(&diarized(&path), &control).unwrap_err();
    assert!(matches!(error, PipelineError::Diarization(DiarizationError::Engine(_))), "{error}");
    assert!(!control.cancel.is_cancelled(), "the client took nothing back");
    assert!(*heard.lock().unwrap() < sentences / 2, "recognition was stopped");
    assert_eq!(stage.scratch.bytes(), 0);
}

#[test]
fn a_diarizer_that_panics_ends_its_request_alone() {
    let breaks = Arc::new(AtomicBool::new(true));
    let broken = Arc::clone(&breaks);
    let stage = pipeline(false, move |_, _, _| {
        assert!(!broken.load(Ordering::SeqCst), "scripted");
        Ok(true_turns())
    });
    let request = diarized(&fixture("audio/dialogue.flac"));
    let run = || stage.pipeline.run(&request, &Control::default());
    let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"scripted"));
    assert_eq!(stage.scratch.bytes(), 0);
    breaks.store(false, Ordering::SeqCst);
    assert!(run().unwrap().transcript.segments.len() >= 10);
}

/// Waits for the end of the recording and of voice activity, as often as asked.
fn wait_for_all(sound: &Sound<'_>) -> Answer {
    let far = TimeSpan::new(1 << 40, (1 << 40) + 1);
    if let Some(speech) = sound.speech {
        speech(far)?;
    }
    sound.spool.wait_for(far.end)?;
    while !sound.cancel.is_cancelled() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err(AudioError::Cancelled.into())
}

#[test]
fn recognition_that_breaks_down_ends_a_waiting_diarizer() {
    let stage = pipeline(true, |sound, _, _| wait_for_all(sound));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    long_recording(&path, 120);
    let run = || stage.pipeline.run(&diarized(&path), &Control::default());
    catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    assert_eq!(stage.scratch.bytes(), 0);
}

#[test]
fn a_cancelled_request_ends_its_diarizer() {
    let stage = pipeline(false, |sound, _, _| wait_for_all(sound));
    let cancel = CancelToken::new();
    let stop = cancel.clone();
    let control = Control::with_listener(cancel, move |event| {
        if let Event::Segment(_) = event {
            stop.cancel();
        }
    });
    let error = stage.pipeline.run(&diarized(&fixture("audio/dialogue.flac")), &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(stage.scratch.bytes(), 0);
}

#[test]
fn what_is_no_recording_is_told_and_not_the_interruption() {
    let stage = pipeline(false, |sound, _, _| wait_for_all(sound));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.mp3");
    std::fs::write(&path, b"this is not a recording, whatever its name says").unwrap();
    let error = stage.pipeline.run(&diarized(&path), &Control::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UndecodableAudio);
    let request = DiarizationRequest {
        source: AudioSource { path, name: None },
        speakers: SpeakerOptions::default(),
        separation: None,
    };
    let error = stage.pipeline.diarize(&request, &Control::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UndecodableAudio);
}

#[test]
fn a_clip_of_the_wrong_length_ends_the_request_before_it_is_accepted() {
    let stage = pipeline(false, |_, _, _| Ok(Diarization::default()));
    let clip = AudioSource { path: fixture("audio/dialogue.flac"), name: None };
    let known = vec![KnownSpeaker { name: "Ann".into(), clip }];
    let speakers = SpeakerOptions { known, ..SpeakerOptions::default() };
    let request = Request { speakers: Some(speakers), ..request(&fixture("audio/hello.flac")) };
    let control = Control::with_listener(CancelToken::new(), |event| panic!("{event:?}"));
    let error = stage.pipeline.run(&request, &control).unwrap_err();
    assert!(matches!(error, PipelineError::Reference { index: 0, .. }), "{error}");
}

#[test]
fn a_missing_diarization_model_is_not_the_clients_fault() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = settings().pipeline();
    options.audio.scratch = Scratch::within(folder.path());
    let vads = Box::new(|| Err(VadError::Model("nobody need listen".into())));
    let missing = || Err(ModelError::NotInstalled { id: "ge2e".into() });
    let pipeline =
        Pipeline::new(options, Arc::clone(&parts().models), vads).with_diarizers(Box::new(missing));
    let error = pipeline.run(&diarized(&fixture("audio/hello.flac")), &Control::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelUnusable, "{error}");
}

#[test]
fn a_clip_without_speech_ends_the_request_before_it_is_accepted() {
    let stage = pipeline(false, |_, _, _| panic!("nobody need listen"));
    let clip = |path| AudioSource { path: fixture(path), name: None };
    let known = |name: &str, path| KnownSpeaker { name: name.into(), clip: clip(path) };
    let known = vec![known("Ann", "audio/sentences/001.flac"), known("Bo", "audio/silence.wav")];
    let speakers = SpeakerOptions { known, ..SpeakerOptions::default() };
    let request = Request { speakers: Some(speakers), ..request(&fixture("audio/hello.flac")) };
    let control = Control::with_listener(CancelToken::new(), |event| panic!("{event:?}"));
    let error = stage.pipeline.run(&request, &control).unwrap_err();
    assert!(matches!(error, PipelineError::Reference { index: 1, .. }), "{error}");
}

#[test]
fn turns_can_be_had_without_text() {
    let stage = pipeline(false, |sound, _, options| {
        assert!(sound.speech.is_none(), "nobody looks for speech here");
        assert_eq!(options.step, ms_to_samples(2_500), "the setting");
        sound.spool.wait_for(u64::MAX)?;
        Ok(true_turns())
    });
    let request = DiarizationRequest {
        source: AudioSource { path: fixture("audio/dialogue.flac"), name: None },
        speakers: SpeakerOptions::default(),
        separation: None,
    };
    let conversation = stage.pipeline.diarize(&request, &Control::default()).unwrap().conversation;
    assert_eq!((conversation.turns.len(), conversation.speakers.len()), (10, 2));
    assert_eq!(conversation.duration, seconds_to_samples(29.65));
    assert_eq!(stage.scratch.bytes(), 0);
}
