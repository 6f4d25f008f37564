//! An hour of silence, noise and music with twenty spoken sentences: exactly these sentences.

use std::path::Path;
use std::sync::Arc;

use diarist::asr::engine::EnginePool;
use diarist::asr::{AsrError, ChunkTranscript, DecodingOptions, Transcriber, TranscriberSpec};
use diarist::cancel::CancelToken;
use diarist::models::manager::{Loaded, ModelManager};
use diarist::pipeline::{Chunking, Control, Pipeline, Request, VadOptions};
use diarist::time::{SAMPLE_RATE, TimeSpan, samples_to_seconds};
use diarist::transcript::{DropReason, Segment, Transcript, Word};

use crate::scenes::{Random, Scene};
use crate::support::{
    Spoken, assert_spoken, bare_speech, parts, request, run, sentences, settings, silero, wav_writer,
};

/// Sentences in the recording.
const SENTENCES: usize = 20;

/// Length of one scene, in seconds; there are sixty of them.
const SCENE_SECONDS: usize = 60;

/// Samples between 0 and full scale.
const FULL_SCALE: f32 = 32_767.0;

/// Writes the recording; gives what is spoken where.
fn an_hour_of_scenes(path: &Path) -> Vec<Spoken> {
    let mut writer = wav_writer(path);
    let speech: Vec<_> = sentences().iter().map(bare_speech).collect();
    let length = SCENE_SECONDS * SAMPLE_RATE as usize;
    let mut truth = Vec::new();
    for index in 0..60 {
        let scene = Scene::ALL[index % Scene::ALL.len()];
        // From a whisper of noise to a loud party.
        let level = [0.02, 0.05, 0.1, 0.15, 0.005, 0.25][index / Scene::ALL.len()];
        let mut samples = scene.render(length, level, index as u64);
        if index % 3 == 1 {
            let (sentence, text) = &speech[index % speech.len()];
            let at = SAMPLE_RATE as usize * (10 + Random::new(index as u64).below(35));
            let clear = index % 2 == 1;
            mix(&mut samples, at, sentence, clear);
            let start = (index * length + at) as u64;
            truth.push(Spoken {
                text: text.clone(),
                start: samples_to_seconds(start),
                end: samples_to_seconds(start + sentence.len() as u64),
            });
        }
        for sample in samples {
            writer.write_sample((sample * FULL_SCALE) as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
    assert_eq!(truth.len(), SENTENCES);
    truth
}

/// Puts speech into a scene: two seconds around it are silent (`clear`), or the scene goes on faintly under it.
fn mix(samples: &mut [f32], at: usize, speech: &[i16], clear: bool) {
    let margin = 2 * SAMPLE_RATE as usize;
    let around = &mut samples[at - margin..at + speech.len() + margin];
    let power = around.iter().map(|s| s * s).sum::<f32>() / around.len() as f32;
    let bed = if clear { 0.0 } else { (0.002 / power.sqrt().max(1e-6)).min(1.0) };
    around.iter_mut().for_each(|sample| *sample *= bed);
    for (sample, spoken) in samples[at..].iter_mut().zip(speech) {
        *sample = (*sample + f32::from(*spoken) / FULL_SCALE).clamp(-1.0, 1.0);
    }
}

/// The hour as `request` has it heard, beside what was spoken.
fn heard(change: impl Fn(Request) -> Request) -> (Transcript, Vec<Spoken>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenes.wav");
    let truth = an_hour_of_scenes(&path);
    (run(&change(request(&path))).unwrap().transcript, truth)
}

#[test]
fn an_hour_of_silence_noise_and_music_holds_exactly_the_sentences_spoken() {
    let (transcript, truth) = heard(|request| request);
    assert_spoken(&transcript, &truth, 0.3);
    assert_eq!(transcript.dropped, []);
    let coverage = transcript.coverage.unwrap();
    assert_eq!(coverage.uncovered, [], "what is no speech was not taken for any");
    // After loud wind the detector misses the beginning of a sentence; a second hearing has it whole.
    assert!(coverage.redecoded_chunks >= 1);
}

/// So low a threshold takes drums and clicks for speech.
fn hair_trigger(request: Request) -> Request {
    let vad = VadOptions { threshold: 0.02, neg_threshold: 0.01, ..VadOptions::default() };
    Request { chunking: Chunking::Vad(vad), ..request }
}

fn unchecked(request: Request) -> Request {
    Request { guard: Some(false), coverage: Some(false), ..request }
}

#[test]
fn sounds_taken_for_speech_give_no_text() {
    let (transcript, truth) = heard(hair_trigger);
    let texts: Vec<String> =
        transcript.segments.iter().map(|segment| segment.unwrap().text.trim().to_owned()).collect();
    let spoken: Vec<_> = truth.iter().map(|sentence| sentence.text.clone()).collect();
    assert_eq!(texts, spoken);
}

/// Writes the same unlikely words whatever it hears, as large models do in noise.
struct Dreamer;

impl Transcriber for Dreamer {
    fn spec(&self) -> TranscriberSpec {
        TranscriberSpec { window: 480_000, multilingual: false }
    }

    fn transcribe(
        &mut self,
        samples: &[f32],
        _: &DecodingOptions,
        _: &CancelToken,
    ) -> Result<ChunkTranscript, AsrError> {
        let span = TimeSpan::new(0, samples.len() as u64);
        let words = vec![Word { text: " Thanks for watching.".into(), span, ..Word::default() }];
        let text = " Thanks for watching.".to_owned();
        let segment =
            Segment { span, text, words, avg_logprob: -0.8, no_speech_prob: 0.1, ..Segment::default() };
        Ok(ChunkTranscript { segments: vec![segment], prompt_tokens: 0 })
    }

    fn language_probabilities(&mut self, _: &[f32], _: &CancelToken) -> Result<Vec<f32>, AsrError> {
        Ok(vec![1.0])
    }
}

#[test]
fn what_a_model_writes_for_sounds_taken_for_speech_is_left_out_and_named() {
    let load = Box::new(|_: &_| {
        let pool = EnginePool::start(Arc::new(|| Ok(Box::new(Dreamer) as Box<dyn Transcriber>)), 1);
        Ok(Loaded { value: Arc::new(pool.unwrap()), memory_bytes: 1 })
    });
    let models = ModelManager::new(Arc::clone(&parts().catalogue), load, &settings().models());
    let pipeline = Pipeline::new(settings().pipeline(), Arc::new(models), silero());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drums.wav");
    write_scene(&path, Scene::Drums, 60);
    let hear = |request| pipeline.run(&request, &Control::default()).unwrap().transcript;

    let unguarded = hear(unchecked(hair_trigger(request(&path))));
    assert_eq!((&unguarded.dropped[..], &unguarded.coverage), (&[][..], &None));
    assert!(unguarded.text().starts_with("Thanks for watching."), "without the guard its text is there");
    let guarded = hear(hair_trigger(request(&path)));
    assert_eq!(guarded.text(), "");
    assert!(!guarded.dropped.is_empty());
    assert!(guarded.dropped.iter().all(|dropped| dropped.reason == DropReason::Silence));
    assert!(guarded.warnings.iter().any(|warning| warning.code == "text_dropped"));
}

/// `seconds` of a scene at each of three levels.
fn write_scene(path: &Path, scene: Scene, seconds: usize) {
    let mut writer = wav_writer(path);
    for (seed, level) in [0.1, 0.02, 0.003].into_iter().enumerate() {
        for sample in scene.render(seconds * SAMPLE_RATE as usize, level, seed as u64) {
            writer.write_sample((sample.clamp(-1.0, 1.0) * FULL_SCALE) as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
}

/// Ten minutes of each scene, with what `change` makes of the request.
fn ten_minutes_of_each(change: impl Fn(Request) -> Request) -> Vec<(Scene, Transcript)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.wav");
    let hear = |scene: Scene| {
        write_scene(&path, scene, 200);
        (scene, run(&change(request(&path))).unwrap().transcript)
    };
    Scene::ALL.into_iter().map(hear).collect()
}

#[test]
fn ten_minutes_of_each_sound_give_no_text() {
    for (scene, transcript) in ten_minutes_of_each(|request| request) {
        assert_eq!(transcript.text(), "", "{scene:?}");
    }
}

#[test]
fn ten_minutes_of_each_sound_give_the_model_alone_hardly_a_word() {
    // All of it is taken for speech, and nothing looks after the model.
    let vad = VadOptions { threshold: 0.0, neg_threshold: 0.0, ..VadOptions::default() };
    let alone = |request| unchecked(Request { chunking: Chunking::Vad(vad), ..request });
    for (scene, transcript) in ten_minutes_of_each(alone) {
        let text = transcript.text();
        assert!(text.split_whitespace().count() <= 5, "{scene:?}: {text}");
    }
}
