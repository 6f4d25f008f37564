//! Tokens to words, chunks to one text, and the text of ten hours to each form of answer.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use diarist::asr::stitch::Stitcher;
use diarist::asr::words::{TimedToken, words};
use diarist::language::Language;
use diarist::output::{RenderOptions, ResponseFormat, render};
use diarist::time::{Chunk, SampleIndex, TimeSpan, ms_to_samples};
use diarist::transcript::{Segment, Task, Token, Transcript, Word};

use crate::sound;

const HOUR: SampleIndex = ms_to_samples(3_600_000);

/// Length of a word, in samples: 150 words a minute.
const WORD: SampleIndex = ms_to_samples(400);

/// Words of a segment: 4 s.
const WORDS: u64 = 10;

/// Length of a chunk, and how far the next one goes back.
const CHUNK: SampleIndex = ms_to_samples(30_000);
const OVERLAP: SampleIndex = ms_to_samples(4_000);

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    let tokens: Vec<TimedToken> = (0..HOUR / WORD).map(|index| timed_token(index * WORD)).collect();
    group.throughput(Throughput::Elements(tokens.len() as u64));
    group.bench_function("words of 1 h of tokens", |bencher| {
        bencher.iter(|| black_box(words(&tokens, Language::ENGLISH)));
    });

    let chunks = overlapping(10 * HOUR);
    group.throughput(sound(10 * HOUR));
    group.bench_function("stitch 10 h of overlapping chunks", |bencher| {
        bencher.iter_batched(|| chunks.clone(), stitch, BatchSize::LargeInput);
    });
    group.finish();

    let transcript = transcript(10 * HOUR);
    let mut group = criterion.benchmark_group("render 10 h");
    for format in ResponseFormat::ALL {
        let options = RenderOptions { words: true, logprobs: true, ..RenderOptions::default() };
        let bytes = render(&transcript, format, &options).body.len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format.name(), |bencher| {
            bencher.iter(|| black_box(render(&transcript, format, &options)));
        });
    }
    group.finish();
}

/// The word that is spoken at `start`: of 5000 different ones.
fn spelling(start: SampleIndex) -> String {
    let number = start / WORD * 2_654_435_761 % 5_000;
    format!(" word{number}")
}

fn timed_token(start: SampleIndex) -> TimedToken {
    let span = TimeSpan::new(start, start + WORD);
    TimedToken { bytes: spelling(start).into_bytes(), logprob: -0.25, span }
}

fn word(start: SampleIndex) -> Word {
    let span = TimeSpan::new(start, start + WORD);
    Word { text: spelling(start), span, probability: 0.8, ..Word::default() }
}

fn segment(start: SampleIndex) -> Segment {
    let words: Vec<Word> = (0..WORDS).map(|index| word(start + index * WORD)).collect();
    let token =
        |(word, id): (&Word, i32)| Token { id, bytes: word.text.clone().into_bytes(), logprob: -0.25 };
    Segment {
        span: TimeSpan::new(start, start + WORDS * WORD),
        text: words.iter().map(|word| word.text.as_str()).collect(),
        tokens: words.iter().zip(100..).map(token).collect(),
        words,
        seek: start,
        temperature: 0.0,
        avg_logprob: -0.25,
        compression_ratio: 1.3,
        no_speech_prob: 0.1,
        speaker: None,
        overlapped: false,
    }
}

/// Segments that fill `span` from its start on.
fn segments(span: TimeSpan) -> Vec<Segment> {
    let length = WORDS * WORD;
    (0..span.len() / length).map(|index| segment(span.start + index * length)).collect()
}

/// Speech without a pause, cut as the chunker cuts it.
fn overlapping(total: SampleIndex) -> Vec<(Chunk, Vec<Segment>)> {
    let step = CHUNK - OVERLAP;
    let chunk = |index: u64| {
        let span = TimeSpan::new(index * step, index * step + CHUNK);
        let owned_start = if index == 0 { 0 } else { span.start + OVERLAP / 2 };
        let owned = TimeSpan::new(owned_start, span.end - OVERLAP / 2);
        (Chunk { span, owned }, segments(span))
    };
    (0..total / step).map(chunk).collect()
}

fn stitch(chunks: Vec<(Chunk, Vec<Segment>)>) -> usize {
    let mut stitcher = Stitcher::new();
    let given: usize = chunks.into_iter().map(|(chunk, heard)| stitcher.push(&chunk, heard).len()).sum();
    given + stitcher.finish().len()
}

fn transcript(duration: SampleIndex) -> Transcript {
    Transcript {
        task: Task::Transcribe,
        language: Language::ENGLISH,
        language_probability: None,
        duration,
        segments: segments(TimeSpan::new(0, duration)).into(),
        turns: Vec::new(),
        speakers: Vec::new(),
        known_names: Vec::new(),
        dropped: Vec::new(),
        coverage: None,
        separation: None,
        prompt_tokens: 0,
        text_tokens: 0,
        warnings: Vec::new(),
    }
}
