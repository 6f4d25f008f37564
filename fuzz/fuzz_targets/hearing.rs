//! Any probabilities, recogniser's words and times through what decides without a model: regions, chunks, words, times
//! held to speech, guard and stitching.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use diarist::asr::guard::{self, Evidence};
use diarist::asr::speech_times::hold_to_speech;
use diarist::asr::stitch::Stitcher;
use diarist::asr::words::{TimedToken, words};
use diarist::language::Language;
use diarist::time::{Chunk, SpeechRegion, TimeSpan};
use diarist::transcript::Segment;
use diarist::vad::chunks::Chunker;
use diarist::vad::regions::RegionBuilder;
use diarist::vad::{ChunkOptions, VadOptions};
use libfuzzer_sys::fuzz_target;

/// Samples in a window of voice activity.
const WINDOW: usize = 512;

#[derive(Arbitrary, Debug)]
struct Input {
    probabilities: Vec<(u8, u8)>,
    vad: [u16; 3],
    chunks: [u16; 4],
    segments: Vec<Heard>,
    prompt: String,
    language: u8,
}

#[derive(Arbitrary, Clone, Debug)]
struct Heard {
    /// Shares of the chunk's length, in 1/256; may go beyond it.
    start: u16,
    length: u16,
    tokens: Vec<(Vec<u8>, f32, u16, u16)>,
    no_speech_prob: f32,
}

fuzz_target!(|data: &[u8]| {
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(data)) else { return };
    let regions = regions(&input);
    let chunks = chunks(&input, &regions);
    let language = Language::from_id(usize::from(input.language)).unwrap_or(Language::ENGLISH);
    let speech: Vec<TimeSpan> = regions.iter().map(|region| region.span).collect();
    let evidence = Evidence { speech: &speech, prompt: &input.prompt };
    let mut stitcher = Stitcher::new();
    let mut said = Vec::new();
    let mut rest = input.segments.iter();
    for chunk in &chunks {
        let mut segments: Vec<Segment> =
            rest.by_ref().take(3).map(|heard| segment(heard, chunk, language)).collect();
        segments.sort_by_key(|segment| segment.span.start);
        segments.iter_mut().for_each(|segment| hold_to_speech(segment, &speech));
        let second: Vec<Segment> = segments.iter().rev().cloned().collect();
        let _ = (guard::suspicions(&segments, &evidence), guard::agree(&segments, &second));
        let settled = guard::settle(segments, &second, &evidence);
        said.extend(stitcher.push(chunk, settled.segments));
    }
    said.extend(stitcher.finish());
    for pair in said.windows(2) {
        assert!(
            pair[0].span.start <= pair[1].span.start && pair[0].span.end <= pair[1].span.start,
            "{pair:?}"
        );
    }
    for segment in &said {
        let inside = |word: TimeSpan| segment.span.start <= word.start && word.end <= segment.span.end;
        assert!(segment.words.iter().all(|word| inside(word.span)), "{segment:?}");
    }
});

fn regions(input: &Input) -> Vec<SpeechRegion> {
    let threshold = f32::from(input.vad[0]) / 65_535.0;
    let options = VadOptions {
        threshold,
        neg_threshold: (threshold - 0.15).max(0.01),
        min_silence_ms: u64::from(input.vad[1] % 10_001),
        speech_pad_ms: u64::from(input.vad[2] % 10_001),
        ..VadOptions::default()
    };
    let longest = chunk_options(input).longest_region();
    let mut builder = RegionBuilder::new(WINDOW, options).with_longest(longest);
    let mut regions = Vec::new();
    let mut windows = 0;
    for &(probability, times) in &input.probabilities {
        let probability = if probability == 255 { f32::NAN } else { f32::from(probability) / 250.0 };
        for _ in 0..=times {
            regions.extend(builder.push(probability));
            windows += WINDOW as u64;
        }
    }
    regions.extend(builder.finish(windows));
    assert!(regions.iter().all(|region| !region.span.is_empty() && region.span.end <= windows));
    assert!(regions.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start), "{regions:?}");
    regions
}

fn chunk_options(input: &Input) -> ChunkOptions {
    let [max, target, overlap, pause] = input.chunks.map(u64::from);
    ChunkOptions {
        max_ms: 1_000 + max % 29_001,
        target_ms: target % 30_001,
        overlap_ms: overlap % 10_001,
        max_pause_ms: pause % 10_001,
    }
}

fn chunks(input: &Input, regions: &[SpeechRegion]) -> Vec<Chunk> {
    let mut chunker = Chunker::new(chunk_options(input));
    let mut chunks: Vec<Chunk> = regions.iter().flat_map(|&region| chunker.push(region)).collect();
    chunks.extend(chunker.finish());
    for pair in chunks.windows(2) {
        assert!(pair[0].owned.end <= pair[1].owned.start, "{pair:?}");
        assert!(pair[0].span.start <= pair[1].span.start, "{pair:?}");
    }
    chunks
}

fn segment(heard: &Heard, chunk: &Chunk, language: Language) -> Segment {
    let at = |share: u16| chunk.span.start + chunk.span.len() * u64::from(share) / 256;
    let tokens: Vec<TimedToken> = heard
        .tokens
        .iter()
        .map(|(bytes, logprob, start, length)| TimedToken {
            bytes: bytes.clone(),
            logprob: *logprob,
            span: TimeSpan::new(at(*start), at(start.saturating_add(*length))),
        })
        .collect();
    let words = words(&tokens, language);
    Segment {
        span: TimeSpan::new(at(heard.start), at(heard.start.saturating_add(heard.length))),
        text: words.iter().map(|word| word.text.as_str()).collect(),
        words,
        no_speech_prob: heard.no_speech_prob,
        ..Segment::default()
    }
}
