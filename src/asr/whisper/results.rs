//! From the engine's result lists to `Segment`s: text, tokens, words, and each window's quality numbers.

use std::ffi::CStr;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use whisper_rs::whisper_rs_sys as sys;

use super::WhisperModel;
use super::watch::{Watch, WindowStats};
use crate::asr::DecodingOptions;
use crate::asr::words::{self, TimedToken};
use crate::time::{SAMPLE_RATE, SampleIndex, TimeSpan};
use crate::transcript::{Segment, Token};

/// Samples per unit of the engine's times (10 ms).
const TICK: i64 = SAMPLE_RATE as i64 / 100;

/// Ticks per timestamp token (20 ms).
const TICKS_PER_TIMESTAMP: i64 = 2;

/// A segment as the engine keeps it.
struct RawSegment {
    start: i64,
    end: i64,
    text: String,
    tokens: Vec<sys::whisper_token_data>,
}

/// Everything recognised in a chunk of `samples` samples; windows that are silence by Whisper's own rule
/// are left out.
pub fn collect(
    model: &WhisperModel,
    state: *mut sys::whisper_state,
    watch: &Watch,
    options: &DecodingOptions,
    samples: usize,
) -> Vec<Segment> {
    // SAFETY: the call on this state has returned.
    let total = unsafe { sys::whisper_full_n_segments_from_state(state) } as usize;
    let mut segments = Vec::with_capacity(total);
    let mut seek = 0;
    for (index, window) in watch.windows.iter().enumerate() {
        let end = watch.windows.get(index + 1).map_or(total, |next| next.first_segment);
        let raw: Vec<RawSegment> =
            (window.first_segment..end).map(|segment| read_segment(state, segment)).collect();
        let quality = WindowQuality::measure(&raw, window, options);
        let next_seek = seek + seek_step(model, &raw);
        if !quality.is_silence(options) {
            let context = Context { model, options, seek, chunk: samples as SampleIndex, quality };
            segments.extend(raw.into_iter().map(|raw| context.segment(raw)));
        }
        seek = next_seek;
    }
    segments
}

fn read_segment(state: *mut sys::whisper_state, segment: usize) -> RawSegment {
    let i = segment as i32;
    // SAFETY: `i` is below the number of segments, `j` below that of its tokens.
    unsafe {
        let tokens = (0..sys::whisper_full_n_tokens_from_state(state, i))
            .map(|j| sys::whisper_full_get_token_data_from_state(state, i, j))
            .collect();
        let text = CStr::from_ptr(sys::whisper_full_get_segment_text_from_state(state, i));
        RawSegment {
            start: sys::whisper_full_get_segment_t0_from_state(state, i),
            end: sys::whisper_full_get_segment_t1_from_state(state, i),
            text: text.to_string_lossy().into_owned(),
            tokens,
        }
    }
}

/// How far the engine moved after a window, in ticks: to its last timestamp.
fn seek_step(model: &WhisperModel, raw: &[RawSegment]) -> i64 {
    // SAFETY: reads a constant of the model.
    let begin = unsafe { sys::whisper_token_beg(model.as_ptr()) };
    let last = raw.iter().flat_map(|segment| &segment.tokens).rev().find(|token| token.id > begin);
    last.map_or(30 * 100, |token| TICKS_PER_TIMESTAMP * i64::from(token.id - begin))
}

/// The numbers that Whisper gives per window.
#[derive(Clone, Copy)]
struct WindowQuality {
    temperature: f32,
    avg_logprob: f32,
    compression_ratio: f32,
    no_speech_prob: f32,
}

impl WindowQuality {
    fn measure(raw: &[RawSegment], window: &WindowStats, options: &DecodingOptions) -> Self {
        let logprobs: Vec<f32> =
            raw.iter().flat_map(|segment| &segment.tokens).map(|token| token.plog).collect();
        let text: String = raw.iter().map(|segment| segment.text.as_str()).collect();
        let fallbacks = window.attempts.saturating_sub(1) as f32;
        Self {
            temperature: options.temperature + fallbacks * options.temperature_increment,
            avg_logprob: logprobs.iter().sum::<f32>() / logprobs.len().max(1) as f32,
            compression_ratio: compression_ratio(&text),
            no_speech_prob: window.no_speech_prob,
        }
    }

    /// openai/whisper `transcribe.py`: likely no speech, and the text is not likely either.
    fn is_silence(&self, options: &DecodingOptions) -> bool {
        self.no_speech_prob > options.no_speech_threshold && self.avg_logprob < options.logprob_threshold
    }
}

/// Length of `text` over its zlib length, as openai/whisper `utils.py` defines it; 0 for no text.
fn compression_ratio(text: &str) -> f32 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    text.len() as f32 / packed.expect("writing to memory does not fail").len() as f32
}

struct Context<'a> {
    model: &'a WhisperModel,
    options: &'a DecodingOptions,
    seek: i64,
    chunk: SampleIndex,
    quality: WindowQuality,
}

impl Context<'_> {
    fn segment(&self, raw: RawSegment) -> Segment {
        let span = self.span(raw.start, raw.end);
        let words = if self.options.word_times { self.words(&raw, span) } else { Vec::new() };
        Segment {
            span,
            tokens: self.tokens(&raw),
            text: raw.text,
            words,
            seek: (self.seek.max(0) * TICK) as SampleIndex,
            temperature: self.quality.temperature,
            avg_logprob: self.quality.avg_logprob,
            compression_ratio: self.quality.compression_ratio,
            no_speech_prob: self.quality.no_speech_prob,
            speaker: None,
        }
    }

    /// Engine times as a span inside the chunk.
    fn span(&self, start: i64, end: i64) -> TimeSpan {
        let sample = |tick: i64| (tick.max(0) * TICK) as SampleIndex;
        TimeSpan::new(sample(start), sample(end)).clamped(TimeSpan::new(0, self.chunk))
    }

    /// The segment's tokens with a timestamp token at both ends: the engine drops the opening one of every
    /// segment but a window's first.
    fn tokens(&self, raw: &RawSegment) -> Vec<Token> {
        // SAFETY: reads a constant of the model.
        let begin = unsafe { sys::whisper_token_beg(self.model.as_ptr()) };
        let mut tokens: Vec<Token> = raw
            .tokens
            .iter()
            .map(|token| Token { id: token.id, bytes: self.model.token_bytes(token.id), logprob: token.plog })
            .collect();
        if tokens.first().is_some_and(|token| token.id < begin) {
            let id = begin + ((raw.start - self.seek).max(0) / TICKS_PER_TIMESTAMP) as i32;
            tokens.insert(0, Token { id, bytes: Vec::new(), logprob: 0.0 });
        }
        tokens
    }

    fn words(&self, raw: &RawSegment, span: TimeSpan) -> Vec<crate::transcript::Word> {
        let timed: Vec<TimedToken> = raw
            .tokens
            .iter()
            .map(|token| (token, self.model.token_bytes(token.id)))
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(token, bytes)| TimedToken {
                bytes,
                logprob: token.plog,
                span: self.span(token.t0, token.t1),
            })
            .collect();
        let mut words = words::words(&timed, self.options.language);
        words::fit_words(&mut words, span);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_compresses_better_than_speech() {
        assert_eq!(compression_ratio("  "), 0.0);
        assert!(compression_ratio("Please open the window before lunch.") < 1.2);
        assert!(compression_ratio(&"again and ".repeat(40)) > 2.4);
    }
}
