//! From the engine's result lists to `Segment`s: text, tokens, words, and each window's quality numbers.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use whisper_rs::whisper_rs_sys as sys;

use super::watch::Watch;
use super::window::{Quality, RawToken, Slice, Window};
use super::{FRAME, WhisperModel};
use crate::asr::DecodingOptions;
use crate::asr::words::{self, TimedToken};
use crate::time::{SampleIndex, TimeSpan};
use crate::transcript::{Segment, Token, Word};

/// Frames per timestamp token (20 ms).
const FRAMES_PER_TIMESTAMP: usize = 2;

/// What the engine decoded in its last call on `state`.
pub fn read_window(
    model: &WhisperModel,
    state: *mut sys::whisper_state,
    watch: &Watch,
    options: &DecodingOptions,
) -> Window {
    // SAFETY: the call on this state has returned; indices are below the counts.
    let data: Vec<sys::whisper_token_data> = unsafe {
        (0..sys::whisper_full_n_segments_from_state(state))
            .flat_map(|i| (0..sys::whisper_full_n_tokens_from_state(state, i)).map(move |j| (i, j)))
            .map(|(i, j)| sys::whisper_full_get_token_data_from_state(state, i, j))
            .collect()
    };
    // SAFETY: reads a constant of the model.
    let begin = unsafe { sys::whisper_token_beg(model.as_ptr()) };
    let tokens: Vec<RawToken> = data
        .iter()
        .map(|token| RawToken {
            id: token.id,
            bytes: model.token_bytes(token.id),
            logprob: token.plog,
            timestamp: (token.id >= begin).then(|| (token.id - begin) as usize * FRAMES_PER_TIMESTAMP),
            left_at: (token.t_dtw >= 0).then_some(token.t_dtw),
        })
        .collect();
    let fallbacks = watch.attempts.saturating_sub(1) as f32;
    let quality = Quality {
        temperature: options.temperature + fallbacks * options.temperature_increment,
        avg_logprob: mean_logprob(&tokens),
        compression_ratio: compression_ratio(&tokens),
        no_speech_prob: watch.no_speech_prob,
    };
    Window { tokens, quality }
}

fn mean_logprob(tokens: &[RawToken]) -> f32 {
    tokens.iter().map(|token| token.logprob).sum::<f32>() / tokens.len().max(1) as f32
}

/// Length of the text over its zlib length, as openai/whisper `utils.py` defines it; 0 for no text.
fn compression_ratio(tokens: &[RawToken]) -> f32 {
    let text: Vec<u8> = tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect();
    let text = text.trim_ascii();
    if text.is_empty() {
        return 0.0;
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(text).and_then(|()| encoder.finish());
    text.len() as f32 / packed.expect("writing to memory does not fail").len() as f32
}

/// Where in the chunk a window lies, and how it was asked for.
pub struct Part<'a> {
    /// First frame of the window.
    pub seek: usize,
    /// First frame after the chunk.
    pub end: usize,
    /// How it was decoded.
    pub options: &'a DecodingOptions,
}

/// The segments of a window, with times from the start of the chunk. A window that is silence by Whisper's
/// own rule has none.
pub fn segments(model: &WhisperModel, window: &Window, part: &Part<'_>) -> Vec<Segment> {
    if is_silence(&window.quality, part.options) {
        return Vec::new();
    }
    let slices = window.slices(part.end.saturating_sub(part.seek));
    slices.iter().map(|slice| segment(model, slice, &window.quality, part)).collect()
}

/// openai/whisper `transcribe.py`: likely no speech, and the text is not likely either.
fn is_silence(quality: &Quality, options: &DecodingOptions) -> bool {
    quality.no_speech_prob > options.no_speech_threshold && quality.avg_logprob < options.logprob_threshold
}

fn segment(model: &WhisperModel, slice: &Slice<'_>, quality: &Quality, part: &Part<'_>) -> Segment {
    let span = frames(part.seek + slice.start, part.seek + slice.end);
    let bytes: Vec<u8> = slice.tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect();
    Segment {
        span,
        text: String::from_utf8_lossy(&bytes).into_owned(),
        tokens: tokens(model, slice),
        words: if part.options.word_times { words(slice, span, part.options) } else { Vec::new() },
        seek: (part.seek * FRAME) as SampleIndex,
        temperature: quality.temperature,
        avg_logprob: quality.avg_logprob,
        compression_ratio: quality.compression_ratio,
        no_speech_prob: quality.no_speech_prob,
        speaker: None,
        overlapped: false,
    }
}

fn frames(start: usize, end: usize) -> TimeSpan {
    TimeSpan::new((start * FRAME) as SampleIndex, (end * FRAME) as SampleIndex)
}

/// Text and timestamp tokens, without `<|endoftext|>`.
fn tokens(model: &WhisperModel, slice: &Slice<'_>) -> Vec<Token> {
    // SAFETY: reads a constant of the model.
    let end = unsafe { sys::whisper_token_eot(model.as_ptr()) };
    slice
        .tokens
        .iter()
        .filter(|token| token.id != end)
        .map(|token| Token { id: token.id, bytes: token.bytes.clone(), logprob: token.logprob })
        .collect()
}

/// Words with times from the alignment of the attention (openai/whisper `timing.py`).
///
/// whisper.cpp gives a token the time at which the attention moves on to the next one, not the time of its
/// own start: its `t_dtw` skips the first row of the alignment. So a token starts where the one before it
/// was left, and the first one with its segment.
fn words(slice: &Slice<'_>, span: TimeSpan, options: &DecodingOptions) -> Vec<Word> {
    let mut start = span.start;
    let timed: Vec<TimedToken> = slice
        .tokens
        .iter()
        .filter(|token| !token.bytes.is_empty())
        .map(|token| {
            let left_at =
                token.left_at.map_or(span.end, |frame| (frame.max(0) as usize * FRAME) as SampleIndex);
            let end = left_at.clamp(start, span.end.max(start));
            let timed = TimedToken {
                bytes: token.bytes.clone(),
                logprob: token.logprob,
                span: TimeSpan::new(start, end),
            };
            start = end;
            timed
        })
        .collect();
    let mut words = words::words(&timed, options.language);
    words::fit_words(&mut words, span);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, left_at: i64) -> RawToken {
        let bytes = text.as_bytes().to_vec();
        RawToken { id: 1, bytes, logprob: -0.1, timestamp: None, left_at: Some(left_at) }
    }

    #[test]
    fn repetition_compresses_better_than_speech() {
        assert_eq!(compression_ratio(&[token("  ", 0)]), 0.0);
        assert!(compression_ratio(&[token("Please open the window before lunch.", 0)]) < 1.2);
        assert!(compression_ratio(&[token(&"again and ".repeat(40), 0)]) > 2.4);
    }

    #[test]
    fn a_word_starts_where_the_attention_leaves_the_one_before() {
        let tokens = [token(" One", 150), token(" two", 190), token(".", 195)];
        let slice = Slice { start: 100, end: 200, tokens: &tokens };
        let words = words(&slice, frames(100, 200), &DecodingOptions::default());
        let spans: Vec<_> = words.iter().map(|word| (word.text.as_str(), word.span)).collect();
        assert_eq!(spans, [(" One", frames(100, 150)), (" two.", frames(150, 190))]);
    }
}
