//! One decoded window: its tokens cut into segments at the timestamps. Pure.
//!
//! The rules are those of openai/whisper (MIT), `transcribe.py`: two timestamps in a row separate
//! segments; a single timestamp at the end says that nothing more is spoken in the window.

/// A token of the engine's output; timestamp tokens carry a time and no text.
#[derive(Clone, Debug, PartialEq)]
pub struct RawToken {
    pub id: i32,
    pub bytes: Vec<u8>,
    pub logprob: f32,
    /// Frames from the window's start, for timestamp tokens.
    pub timestamp: Option<usize>,
    /// Where the attention leaves the token, in frames of the chunk; whisper.cpp's `t_dtw`.
    pub left_at: Option<i64>,
}

/// A window's tokens and quality.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub tokens: Vec<RawToken>,
    pub quality: Quality,
}

/// The numbers that Whisper gives per window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    pub temperature: f32,
    pub avg_logprob: f32,
    pub compression_ratio: f32,
    pub no_speech_prob: f32,
}

/// A stretch of tokens between two timestamps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice<'a> {
    /// Frames from the window's start.
    pub start: usize,
    pub end: usize,
    /// The timestamp tokens at its ends included.
    pub tokens: &'a [RawToken],
}

impl Window {
    /// The segments of a window with `frames` frames of sound. Stretches without text are left out, and so
    /// is what follows the last seam when the window is to be heard again from there.
    pub fn slices(&self, frames: usize) -> Vec<Slice<'_>> {
        let mut bounds = self.seams();
        if self.reheard_from().is_none() {
            bounds.push(self.tokens.len());
        }
        let mut first = 0;
        let mut slices = Vec::new();
        for next in bounds {
            slices.extend(slice(&self.tokens[first..next], frames));
            first = next;
        }
        slices
    }

    /// How many of the window's `frames` frames need not be heard again; at least one.
    pub fn advance(&self, frames: usize) -> usize {
        self.reheard_from().unwrap_or(frames).max(1)
    }

    /// The frame from which the window is to be decoded again, if the model did not get to its end.
    fn reheard_from(&self) -> Option<usize> {
        let seam = *self.seams().last()?;
        self.tokens[seam - 1].timestamp.filter(|last| *last > 0 && !self.ends_with_single_timestamp())
    }

    /// Indices of timestamp tokens that follow a timestamp token.
    fn seams(&self) -> Vec<usize> {
        (1..self.tokens.len())
            .filter(|&i| self.tokens[i - 1].timestamp.is_some() && self.tokens[i].timestamp.is_some())
            .collect()
    }

    fn ends_with_single_timestamp(&self) -> bool {
        let mut last = self.tokens.iter().rev().filter(|token| !is_end(token));
        last.next().is_some_and(|token| token.timestamp.is_some())
            && last.next().is_some_and(|token| token.timestamp.is_none())
    }
}

/// Special tokens such as `<|endoftext|>`: neither text nor time.
fn is_end(token: &RawToken) -> bool {
    token.timestamp.is_none() && token.bytes.is_empty()
}

fn slice(tokens: &[RawToken], frames: usize) -> Option<Slice<'_>> {
    let text: Vec<u8> = tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect();
    if text.trim_ascii().is_empty() {
        return None;
    }
    let stamp = |token: Option<&RawToken>| token.and_then(|token| token.timestamp);
    let start = stamp(tokens.first()).unwrap_or(0).min(frames);
    let end = stamp(tokens.iter().rev().find(|token| !is_end(token))).unwrap_or(frames);
    Some(Slice { start, end: end.clamp(start, frames.max(start)), tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `<1.50>` is a timestamp, `|` the end token, everything else text.
    fn window(script: &[&str]) -> Window {
        let tokens = script
            .iter()
            .map(|item| {
                let seconds = item.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
                let text = if seconds.is_some() || *item == "|" { "" } else { *item };
                RawToken {
                    id: 0,
                    bytes: text.as_bytes().to_vec(),
                    logprob: 0.0,
                    timestamp: seconds.map(|s| (s.parse::<f64>().unwrap() * 100.0).round() as usize),
                    left_at: None,
                }
            })
            .collect();
        let quality =
            Quality { temperature: 0.0, avg_logprob: 0.0, compression_ratio: 1.0, no_speech_prob: 0.0 };
        Window { tokens, quality }
    }

    fn spans(window: &Window, frames: usize) -> Vec<(usize, usize)> {
        window.slices(frames).iter().map(|slice| (slice.start, slice.end)).collect()
    }

    #[test]
    fn one_sentence_with_one_closing_timestamp_ends_the_window() {
        let window = window(&["<0.30>", " Hello", ".", "<1.50>", "|"]);
        assert_eq!(spans(&window, 400), [(30, 150)]);
        assert_eq!(window.advance(400), 400);
    }

    #[test]
    fn two_timestamps_in_a_row_separate_segments() {
        let window = window(&["<0.00>", " A", "<1.00>", "<1.20>", " B", "<2.00>", "|"]);
        assert_eq!(spans(&window, 400), [(0, 100), (120, 200)]);
        assert_eq!(window.advance(400), 400);
    }

    #[test]
    fn an_open_pair_at_the_end_asks_for_the_rest_to_be_heard() {
        let window = window(&["<0.00>", " A", "<1.00>", "<1.20>", " B", "<2.00>", "<2.00>", "|"]);
        assert_eq!(spans(&window, 400), [(0, 100), (120, 200)]);
        assert_eq!(window.advance(400), 200);
    }

    #[test]
    fn text_without_timestamps_spans_the_window() {
        let window = window(&[" A", " B", "|"]);
        assert_eq!(spans(&window, 350), [(0, 350)]);
        assert_eq!(window.advance(350), 350);
    }

    #[test]
    fn a_text_cut_off_in_the_middle_is_heard_again_from_its_last_seam() {
        let window = window(&["<0.00>", " A", "<1.00>", "<1.20>", " B"]);
        assert_eq!(spans(&window, 350), [(0, 100)]);
        assert_eq!(window.advance(350), 100);
    }

    #[test]
    fn silence_has_no_segments_and_ends_the_window() {
        assert!(window(&["<0.00>", "|"]).slices(100).is_empty());
        assert_eq!(window(&[]).advance(100), 100);
        assert_eq!(window(&["<0.00>", "<0.00>", "|"]).advance(100), 100);
    }

    #[test]
    fn times_past_the_sound_are_cut() {
        let window = window(&["<0.00>", " A", "<9.00>", "|"]);
        assert_eq!(spans(&window, 400), [(0, 400)]);
    }
}
