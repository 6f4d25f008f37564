//! Voice activity with the real network: its numbers, and where it says that somebody speaks.
//!
//! Needs ONNX Runtime (`make test` installs it; else DIARIST_ONNXRUNTIME names the library).

use std::f32::consts::TAU;
use std::path::{Path, PathBuf};

use diarist::runtime::onnx;
use diarist::time::{Chunk, SpeechRegion, TimeSpan, seconds_to_samples};
use diarist::vad::{
    ChunkOptions, Chunker, RegionBuilder, SileroVad, VadError, VadOptions, VoiceActivityDetector,
};

/// What Silero's own steps (silero-vad 6.2.3, class `OnnxWrapper`), run in Python, give for the fixture's
/// windows 10 to 29 and 62 to 71: the beginning and the end of the first sentence.
const EXPECTED: [(usize, &[f32]); 2] = [
    (
        10,
        &[
            0.0040, 0.0030, 0.0026, 0.0028, 0.0031, 0.1037, 0.2277, 0.9372, 0.9888, 0.9954, 0.9449, 0.9663,
            0.9992, 0.9982, 0.9980, 0.9996, 0.9998, 0.9998, 0.9999, 0.9997,
        ],
    ),
    (62, &[1.0000, 0.9904, 0.9792, 0.6685, 0.3379, 0.0857, 0.0332, 0.0219, 0.0186, 0.0212]),
];

/// Where the fixture's two sentences were put, in samples.
const SENTENCES: [TimeSpan; 2] =
    [TimeSpan { start: 8_000, end: 32_166 }, TimeSpan { start: 46_566, end: 68_983 }];

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn detector() -> SileroVad {
    SileroVad::load(&in_repository("models/silero_vad_16k_op15.onnx")).expect("the bundled network loads")
}

/// 16 kHz mono samples in [-1, 1].
fn read_wav(path: &Path) -> Vec<f32> {
    let mut reader = hound::WavReader::open(path).expect("a WAV file");
    let spec = reader.spec();
    assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (16_000, 1, 16));
    reader.samples::<i16>().map(|sample| f32::from(sample.expect("a sample")) / 32_768.0).collect()
}

fn fixture() -> Vec<f32> {
    read_wav(&in_repository("fixtures/audio/vad_check.wav"))
}

fn probabilities(samples: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    detector().probabilities(samples, &mut out).expect("the network runs");
    out
}

fn regions(samples: &[f32], options: VadOptions) -> Vec<SpeechRegion> {
    let mut vad = detector();
    let mut builder = RegionBuilder::new(vad.spec().window, options);
    let mut found = Vec::new();
    // Blocks of whole windows, as the pipeline reads them.
    for block in samples.chunks(vad.spec().window * 100) {
        let mut probabilities = Vec::new();
        vad.probabilities(block, &mut probabilities).expect("the network runs");
        found.extend(probabilities.into_iter().filter_map(|probability| builder.push(probability)));
    }
    found.extend(builder.finish(samples.len() as u64));
    found
}

fn chunks(regions: &[SpeechRegion], options: ChunkOptions) -> Vec<Chunk> {
    let mut chunker = Chunker::new(options);
    let mut chunks: Vec<Chunk> = regions.iter().flat_map(|&region| chunker.push(region)).collect();
    chunks.extend(chunker.finish());
    chunks
}

#[test]
fn probabilities_equal_those_of_silero_s_own_steps() {
    let samples = fixture();
    let found = probabilities(&samples);
    assert_eq!(found.len(), samples.len().div_ceil(512), "the last, short window counts too");
    for (first, expected) in EXPECTED {
        for (index, &value) in expected.iter().enumerate() {
            let got = found[first + index];
            assert!((got - value).abs() < 2e-3, "window {}: {got}, not {value}", first + index);
        }
    }
}

#[test]
fn the_network_remembers_from_call_to_call_until_it_is_reset() {
    let samples = fixture();
    let whole = probabilities(&samples);
    let mut vad = detector();
    let mut in_blocks = Vec::new();
    for block in samples.chunks(512 * 7) {
        vad.probabilities(block, &mut in_blocks).unwrap();
    }
    assert_eq!(in_blocks, whole);

    vad.reset();
    let mut again = Vec::new();
    vad.probabilities(&samples, &mut again).unwrap();
    assert_eq!(again, whole);
}

#[test]
fn each_sentence_is_one_region_and_one_chunk_where_it_is_spoken() {
    let options = VadOptions { speech_pad_ms: 100, ..VadOptions::default() };
    let found = regions(&fixture(), options);
    assert_eq!(found.len(), SENTENCES.len(), "{found:?}");
    for (region, sentence) in found.iter().zip(SENTENCES) {
        assert!(region.span.start <= sentence.start && sentence.end <= region.span.end, "{region:?}");
        assert!(sentence.start - region.span.start < seconds_to_samples(0.3), "{region:?}");
        assert!(region.span.end - sentence.end < seconds_to_samples(0.3), "{region:?}");
        assert!(region.confidence > 0.8, "{region:?}");
    }
    let alone = chunks(&found, ChunkOptions { target_ms: 0, ..ChunkOptions::default() });
    assert_eq!(
        alone.iter().map(|chunk| chunk.span).collect::<Vec<_>>(),
        found.iter().map(|region| region.span).collect::<Vec<_>>()
    );
    let packed = chunks(&found, ChunkOptions::default());
    assert_eq!(packed.len(), 1);
    assert_eq!(packed[0].span, TimeSpan::new(found[0].span.start, found[1].span.end));
}

#[test]
fn silence_and_a_hum_are_no_speech() {
    let hum: Vec<f32> = (0..48_000).map(|at| 0.1 * (at as f32 * TAU * 50.0 / 16_000.0).sin()).collect();
    assert_eq!(regions(&[0.0; 48_000], VadOptions::default()), []);
    assert_eq!(regions(&hum, VadOptions::default()), []);
    assert_eq!(regions(&[], VadOptions::default()), []);
}

#[test]
fn hours_of_digital_silence_are_cheap_and_change_nothing_that_follows() {
    let speech = fixture();
    let after = |windows: usize| {
        let mut samples = vec![0.0; windows * 512];
        samples.extend(&speech);
        probabilities(&samples)[windows..].to_vec()
    };
    for (at, (short, long)) in after(32).into_iter().zip(after(2_000)).enumerate() {
        assert!(
            (short - long).abs() < 0.01,
            "window {at}: {short} after 1 s of silence, {long} after a minute"
        );
    }
}

#[test]
fn samples_that_are_no_numbers_leave_no_trace_after_a_reset() {
    let samples = fixture();
    let mut vad = detector();
    let mut out = Vec::new();
    let _ = vad.probabilities(&[f32::NAN; 1024], &mut out);
    vad.reset();
    out.clear();
    vad.probabilities(&samples, &mut out).unwrap();
    assert_eq!(out, probabilities(&samples));
}

#[test]
fn a_file_that_is_no_network_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vad.onnx");
    for write in [false, true] {
        if write {
            std::fs::write(&path, b"no protobuf").unwrap();
        }
        let Err(error) = SileroVad::load(&path) else { panic!("loaded") };
        assert!(matches!(error, VadError::Model(_)));
        assert!(error.to_string().contains("vad.onnx"), "{error}");
    }
}

#[test]
fn the_runtime_says_its_version_and_is_loaded_once() {
    let runtime = onnx::runtime(None).expect("ONNX Runtime is installed");
    assert!(runtime.describe().starts_with("ONNX Runtime"), "{}", runtime.describe());
    assert!(std::ptr::eq(runtime, onnx::runtime(Some(Path::new("/another"))).unwrap()));
}

/// Longer recordings, each a WAV file with a JSON list of `{start, end, text}` in seconds beside it.
#[test]
fn long_recordings_of_known_sentences_are_cut_between_them() {
    let Some(dir) = std::env::var_os("DIARIST_EVAL_DIR").map(PathBuf::from) else {
        eprintln!("skipped: DIARIST_EVAL_DIR names no folder of long recordings");
        return;
    };
    let (mut whole, mut alone, mut all) = (0, 0, 0);
    for name in ["synthetic/espeak2_60s", "synthetic/talk3_90s"] {
        let samples = read_wav(&dir.join(name).with_extension("wav"));
        let found = regions(&samples, VadOptions::default());
        let found = chunks(&found, ChunkOptions { target_ms: 0, ..ChunkOptions::default() });
        let sentences = sentences_of(&dir.join(name).with_extension("json"));
        let share = |chunk: &Chunk, sentence: &TimeSpan| sentence.clamped(chunk.owned).len();
        for sentence in &sentences {
            all += 1;
            let Some(chunk) = found.iter().max_by_key(|chunk| share(chunk, sentence)) else { continue };
            let missed = sentence.len() - share(chunk, sentence);
            whole += usize::from(missed < seconds_to_samples(0.05));
            let others = sentences.iter().filter(|other| share(chunk, other) > seconds_to_samples(0.1));
            alone += usize::from(others.count() == 1);
        }
    }
    eprintln!("{whole} of {all} sentences whole in one chunk, {alone} alone in it");
    assert!(whole * 100 >= all * 98 && alone * 100 >= all * 90, "{whole} and {alone} of {all}");
}

fn sentences_of(path: &Path) -> Vec<TimeSpan> {
    let truth = std::fs::read_to_string(path).expect("a list of sentences");
    let truth: Vec<serde_json::Value> = serde_json::from_str(&truth).expect("JSON");
    let at = |sentence: &serde_json::Value, key: &str| {
        seconds_to_samples(sentence[key].as_f64().expect("seconds"))
    };
    truth.iter().map(|sentence| TimeSpan::new(at(sentence, "start"), at(sentence, "end"))).collect()
}
