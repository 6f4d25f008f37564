//! Speech probabilities to speech regions. Pure.
//!
//! The rules are those of Silero's `get_speech_timestamps` (snakers4/silero-vad, `utils_vad.py`, MIT),
//! worked off window by window: what is kept does not grow with the recording, and a region leaves as
//! soon as nothing that follows can change it. Read next: `chunks`.

use std::collections::VecDeque;

use crate::time::{SampleIndex, SpeechRegion, TimeSpan, ms_to_samples};

/// When a stretch counts as speech. Defaults are those of Silero's own `get_speech_timestamps`, with the
/// pause and padding of OpenAI's `server_vad`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VadOptions {
    /// A window with at least this probability starts speech, in [0, 1].
    pub threshold: f32,
    /// Windows below this probability are silence, in [0, 1]; between the two nothing changes.
    pub neg_threshold: f32,
    /// Regions shorter than this are dropped, in ms.
    pub min_speech_ms: u64,
    /// A pause must last this long to end a region, in ms (`silence_duration_ms`).
    pub min_silence_ms: u64,
    /// Kept before and after each region, in ms (`prefix_padding_ms`); never more than half the gap.
    pub speech_pad_ms: u64,
}

impl Default for VadOptions {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            neg_threshold: 0.35,
            min_speech_ms: 100,
            min_silence_ms: 200,
            speech_pad_ms: 300,
        }
    }
}

/// Longer times in the options count as this much, so that no sum of samples overflows.
const MAX_OPTION_MS: u64 = 24 * 3_600_000;

/// Turns probabilities into regions as they come.
///
/// The regions that `push` and `finish` give are, taken together, sorted, disjoint, not empty and within
/// the recording.
pub struct RegionBuilder {
    window: SampleIndex,
    threshold: f32,
    neg_threshold: f32,
    min_speech: SampleIndex,
    min_silence: SampleIndex,
    pad: SampleIndex,
    /// First sample of the window that comes next.
    now: SampleIndex,
    /// Speech that goes on.
    open: Option<OpenRegion>,
    /// Speech that has ended and is long enough, while what follows may still limit its padding.
    closed: Option<ClosedRegion>,
    /// Where the padding of the next region may begin: the end of the last region given out.
    floor: SampleIndex,
    /// How long a region may grow, if that is limited.
    limit: Option<LongestRegion>,
    /// Probabilities since the open region began; kept only where regions are limited.
    recent: VecDeque<f32>,
}

/// How long regions may grow before they are cut where speech is weakest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongestRegion {
    /// Longest region, in samples, padding not counted.
    pub length: SampleIndex,
    /// Speech that is known to go on after a cut, in samples.
    pub lookahead: SampleIndex,
}

/// Speech from `start` on.
struct OpenRegion {
    start: SampleIndex,
    /// First sample of the silence that may end it.
    silence: Option<SampleIndex>,
    /// Windows up to that silence.
    speech: Mean,
    /// Windows since that silence began.
    since: Mean,
}

/// Speech without its padding at the end; `padded_start` has its padding.
struct ClosedRegion {
    padded_start: SampleIndex,
    end: SampleIndex,
    confidence: f32,
    continues: bool,
}

#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f32) {
        self.sum += f64::from(value);
        self.count += 1;
    }

    fn take_in(&mut self, other: Mean) {
        self.sum += other.sum;
        self.count += other.count;
    }

    fn value(self) -> f32 {
        if self.count == 0 { 0.0 } else { (self.sum / self.count as f64) as f32 }
    }
}

impl RegionBuilder {
    /// For windows of `window` samples (at least 1).
    pub fn new(window: usize, options: VadOptions) -> Self {
        Self {
            window: window.max(1) as SampleIndex,
            threshold: options.threshold,
            neg_threshold: options.neg_threshold,
            min_speech: ms_to_samples(options.min_speech_ms.min(MAX_OPTION_MS)),
            min_silence: ms_to_samples(options.min_silence_ms.min(MAX_OPTION_MS)),
            pad: ms_to_samples(options.speech_pad_ms.min(MAX_OPTION_MS)),
            now: 0,
            open: None,
            closed: None,
            floor: 0,
            limit: None,
            recent: VecDeque::new(),
        }
    }

    /// Cuts speech that goes on for longer than `limit.length`, where its probability is lowest in the last
    /// third of that, so that what follows need not wait for a pause.
    pub fn with_longest(mut self, limit: LongestRegion) -> Self {
        // A piece and what is known after it hold several windows each, whatever is asked for.
        let least = self.min_speech.max(self.min_silence) + 8 * self.window;
        self.limit = Some(LongestRegion {
            length: limit.length.max(least),
            lookahead: limit.lookahead.max(self.min_speech + 2 * self.window),
        });
        self
    }

    /// Takes the next window's probability; gives a region once its end (padding included) is certain.
    /// What is not a number counts as silence.
    pub fn push(&mut self, probability: f32) -> Option<SpeechRegion> {
        let probability = if probability.is_nan() { 0.0 } else { probability };
        let start = self.now;
        self.now += self.window;
        let ended = self.follow(start, probability);
        self.remember(start, probability);
        let ended = ended.or_else(|| self.cut_when_long());
        ended.or_else(|| self.certain(start))
    }

    /// Ends the recording, `total` samples long; gives what is still open. Speech that the end cuts off
    /// lasts until the end.
    pub fn finish(mut self, total: SampleIndex) -> Vec<SpeechRegion> {
        let mut regions = Vec::new();
        if let Some(mut open) = self.open.take()
            && total > open.start + self.min_speech
        {
            open.speech.take_in(open.since);
            regions.extend(self.close(&open, total));
        }
        regions.extend(self.release(None));
        for region in &mut regions {
            region.span = region.span.clamped(TimeSpan::new(0, total));
        }
        regions.retain(|region| !region.span.is_empty());
        regions
    }

    /// Starts, continues or ends speech by the window at `start`; gives the region before it, if it waited
    /// for this end.
    fn follow(&mut self, start: SampleIndex, probability: f32) -> Option<SpeechRegion> {
        let Some(open) = &mut self.open else {
            if probability >= self.threshold {
                let mut speech = Mean::default();
                speech.add(probability);
                self.open = Some(OpenRegion { start, silence: None, speech, since: Mean::default() });
            }
            return None;
        };
        if probability >= self.threshold {
            open.silence = None;
            open.speech.take_in(std::mem::take(&mut open.since));
        } else if probability < self.neg_threshold {
            let silence = *open.silence.get_or_insert(start);
            if start - silence >= self.min_silence {
                let open = self.open.take().expect("matched above");
                if silence - open.start <= self.min_speech {
                    return None;
                }
                return self.close(&open, silence);
            }
        }
        if open.silence.is_some() {
            open.since.add(probability);
        } else {
            open.speech.add(probability);
        }
        None
    }

    /// Keeps the probability of the window at `start`, if it may be needed to cut the open region.
    fn remember(&mut self, start: SampleIndex, probability: f32) {
        if self.limit.is_none() {
            return;
        }
        if self.open.as_ref().is_none_or(|open| open.start == start) {
            self.recent.clear();
        }
        if self.open.is_some() {
            self.recent.push_back(probability);
        }
    }

    /// Cuts the open region once it is too long. Gives the region before it, if it waited for this end.
    fn cut_when_long(&mut self) -> Option<SpeechRegion> {
        let limit = self.limit?;
        let open = self.open.as_ref()?;
        if self.now - open.start < limit.length + limit.lookahead {
            return None;
        }
        let windows = (limit.length / self.window) as usize;
        let weakest = weakest(&self.recent, windows * 2 / 3, windows);
        let open = self.open.take()?;
        let cut = open.start + weakest as SampleIndex * self.window;
        let before = self.close(&open, cut);
        if let Some(closed) = &mut self.closed {
            closed.continues = true;
        }
        self.recent.drain(..weakest);
        let mut speech = Mean::default();
        self.recent.iter().for_each(|probability| speech.add(*probability));
        let silence = open.silence.map(|silence| silence.max(cut));
        self.open = Some(OpenRegion { start: cut, silence, speech, since: Mean::default() });
        before
    }

    /// Keeps `open` as ended at `end`; gives the region kept before it, if that has not left yet.
    fn close(&mut self, open: &OpenRegion, end: SampleIndex) -> Option<SpeechRegion> {
        let before = self.release(Some(open.start));
        let padded_start = open.start.saturating_sub(self.pad).max(self.floor);
        let confidence = open.speech.value();
        self.closed = Some(ClosedRegion { padded_start, end, confidence, continues: false });
        before
    }

    /// The closed region, if nothing after the window at `start` can change its end.
    fn certain(&mut self, start: SampleIndex) -> Option<SpeechRegion> {
        let closed = self.closed.as_ref()?;
        let reach = closed.end + 2 * self.pad;
        match &self.open {
            // The open region is a neighbour only if it is long enough to stay, even if the recording
            // ends within this window.
            Some(open) => {
                let shortest_end = open.silence.unwrap_or(start + 1);
                (open.start >= reach || shortest_end - open.start > self.min_speech)
                    .then_some(Some(open.start))
            }
            // The recording is known to go on past `start` only, and the end must lie within it.
            None => (self.now >= reach && start >= closed.end + self.pad).then_some(None),
        }
        .and_then(|next| self.release(next))
    }

    /// Gives out the closed region, its end padded by half the gap to the speech at `next` at most.
    fn release(&mut self, next: Option<SampleIndex>) -> Option<SpeechRegion> {
        let closed = self.closed.take()?;
        let pad = next.map_or(self.pad, |next| self.pad.min((next - closed.end) / 2));
        let end = closed.end + pad;
        // The next region keeps its own half of the gap, the odd sample between the two included.
        self.floor = next.map_or(end, |next| next - pad);
        Some(SpeechRegion {
            span: TimeSpan::new(closed.padded_start, end),
            confidence: closed.confidence.clamp(0.0, 1.0),
            continues: closed.continues,
        })
    }
}

/// The index in `from..to` at which the probability is lowest, its neighbours counted half; the latest of equals.
fn weakest(probabilities: &VecDeque<f32>, from: usize, to: usize) -> usize {
    let around = |at: usize| -> f32 {
        let neighbours = probabilities.range(at.saturating_sub(1)..probabilities.len().min(at + 2));
        neighbours.sum::<f32>() + probabilities[at]
    };
    let last = to.min(probabilities.len()).max(1);
    (from.min(last - 1)..last)
        .rev()
        .min_by(|a, b| around(*a).total_cmp(&around(*b)))
        .unwrap_or(last - 1)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: usize = 512;

    /// All regions of `probabilities`, and after how many windows each came.
    fn regions_of(
        probabilities: &[f32],
        total: SampleIndex,
        options: VadOptions,
    ) -> Vec<(SpeechRegion, usize)> {
        let mut builder = RegionBuilder::new(WINDOW, options);
        let mut found = Vec::new();
        for (index, &probability) in probabilities.iter().enumerate() {
            found.extend(builder.push(probability).map(|region| (region, index + 1)));
        }
        found.extend(builder.finish(total).into_iter().map(|region| (region, usize::MAX)));
        found
    }

    fn spans_of(probabilities: &[f32], options: VadOptions) -> Vec<(u64, u64)> {
        let total = (probabilities.len() * WINDOW) as u64;
        regions_of(probabilities, total, options)
            .iter()
            .map(|(region, _)| (region.span.start, region.span.end))
            .collect()
    }

    /// The same rules over the whole array at once: raw speech first, padding afterwards.
    fn reference(probabilities: &[f32], total: u64, options: VadOptions) -> Vec<(u64, u64)> {
        let (min_speech, min_silence) =
            (ms_to_samples(options.min_speech_ms), ms_to_samples(options.min_silence_ms));
        let pad = ms_to_samples(options.speech_pad_ms);
        let mut raw: Vec<(u64, u64)> = Vec::new();
        let (mut start, mut silence) = (None, None);
        for (index, &probability) in probabilities.iter().enumerate() {
            let at = (index * WINDOW) as u64;
            if probability >= options.threshold {
                silence = None;
                start = start.or(Some(at));
            } else if probability < options.neg_threshold
                && let Some(began) = start
            {
                let end = *silence.get_or_insert(at);
                if at - end >= min_silence {
                    raw.push((began, end));
                    (start, silence) = (None, None);
                }
            }
        }
        raw.extend(start.map(|began| (began, total)));
        raw.retain(|(start, end)| end - start > min_speech);
        let mut padded = raw.clone();
        for (index, (start, end)) in padded.iter_mut().enumerate() {
            let gap_before = if index == 0 { u64::MAX } else { raw[index].0 - raw[index - 1].1 };
            let gap_after = raw.get(index + 1).map_or(u64::MAX, |next| next.0 - raw[index].1);
            *start = start.saturating_sub(pad.min(gap_before / 2));
            *end = (*end + pad.min(gap_after / 2)).min(total);
        }
        padded
    }

    const BARE: VadOptions = VadOptions {
        threshold: 0.5,
        neg_threshold: 0.35,
        min_speech_ms: 0,
        min_silence_ms: 64,
        speech_pad_ms: 0,
    };

    #[test]
    fn silence_and_an_empty_recording_have_no_regions() {
        assert_eq!(spans_of(&[], BARE), []);
        assert_eq!(spans_of(&[0.1; 20], BARE), []);
        assert_eq!(spans_of(&[f32::NAN; 20], BARE), []);
    }

    #[test]
    fn a_gap_shorter_than_min_silence_does_not_split_a_region() {
        let joined = [0.0, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(spans_of(&joined, BARE), [(512, 7 * 512)]);
        let split = [0.0, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9, 0.0, 0.0, 0.0];
        assert_eq!(spans_of(&split, BARE), [(512, 3 * 512), (6 * 512, 8 * 512)]);
    }

    #[test]
    fn between_the_thresholds_speech_goes_on_and_silence_goes_on() {
        let murmur = [0.4, 0.4, 0.9, 0.4, 0.4, 0.4, 0.4, 0.0, 0.0, 0.0];
        assert_eq!(spans_of(&murmur, BARE), [(2 * 512, 7 * 512)]);
    }

    #[test]
    fn a_region_no_longer_than_min_speech_is_dropped() {
        let options = VadOptions { min_speech_ms: 64, ..BARE };
        let click = [0.0, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(spans_of(&click, options), []);
    }

    #[test]
    fn padding_is_at_most_half_the_gap_and_stays_within_the_recording() {
        let options = VadOptions { speech_pad_ms: 320, ..BARE };
        let mut probabilities = vec![0.9; 4];
        probabilities.extend([0.0; 6]);
        probabilities.extend([0.9; 4]);
        assert_eq!(spans_of(&probabilities, options), [(0, 7 * 512), (7 * 512, 14 * 512)]);
    }

    #[test]
    fn speech_at_the_end_lasts_until_the_end() {
        let found = regions_of(&[0.0, 0.0, 0.9, 0.9], 3 * 512 + 100, BARE);
        assert_eq!(found[0].0.span, TimeSpan::new(2 * 512, 3 * 512 + 100));
    }

    #[test]
    fn confidence_is_the_mean_over_the_speech_without_the_silence_after_it() {
        let found = regions_of(&[0.0, 0.6, 1.0, 0.2, 0.8, 0.0, 0.0, 0.0, 0.0], 9 * 512, BARE);
        assert_eq!(found.len(), 1);
        assert!((found[0].0.confidence - 0.65).abs() < 1e-6, "{}", found[0].0.confidence);
    }

    #[test]
    fn a_region_leaves_once_its_padding_cannot_be_limited_any_more() {
        let options = VadOptions { speech_pad_ms: 320, ..BARE };
        let mut probabilities = vec![0.9; 10];
        probabilities.extend([0.0; 100]);
        let found = regions_of(&probabilities, 110 * 512, options);
        // Ends at window 10, padded by 10 windows: another could begin before window 30 and limit it.
        assert_eq!(found.iter().map(|(_, after)| *after).collect::<Vec<_>>(), [30]);
        probabilities.splice(13..13, [0.9; 5]);
        let found = regions_of(&probabilities, 115 * 512, options);
        assert_eq!(found[0].1, 14, "the next region limits it at once");
    }

    #[test]
    fn a_last_window_cut_short_decides_as_the_whole_recording_does() {
        let options = VadOptions { min_speech_ms: 60, speech_pad_ms: 100, ..BARE };
        let probabilities = [0.9, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0, 0.9, 0.9];
        // 512 + 100 samples of the second stretch are there, and 960 would be needed.
        let found = regions_of(&probabilities, 8 * 512 + 100, options);
        let spans: Vec<_> = found.iter().map(|(region, _)| (region.span.start, region.span.end)).collect();
        assert_eq!(spans, [(0, 3 * 512 + 1600)]);
    }

    #[test]
    fn absurdly_long_options_do_no_harm() {
        let endless = VadOptions { speech_pad_ms: u64::MAX, min_silence_ms: u64::MAX, ..BARE };
        assert_eq!(spans_of(&[0.0, 0.9, 0.0], endless), [(0, 3 * 512)]);
    }

    prop_compose! {
        fn options()(
            threshold in 0.3f32..0.8, drop in 0.0f32..0.3, min_speech_ms in 0u64..300,
            min_silence_ms in 0u64..400, speech_pad_ms in 0u64..600,
        ) -> VadOptions {
            VadOptions { threshold, neg_threshold: threshold - drop, min_speech_ms, min_silence_ms, speech_pad_ms }
        }
    }

    /// Runs of one level each, as speech comes.
    fn probabilities() -> impl Strategy<Value = Vec<f32>> {
        let run = (prop_oneof![0.0f32..0.3, 0.3f32..0.7, 0.7f32..1.0], 1usize..25);
        prop::collection::vec(run, 0..40)
            .prop_map(|runs| runs.into_iter().flat_map(|(level, length)| vec![level; length]).collect())
    }

    proptest! {
        #[test]
        fn incremental_regions_equal_those_of_the_whole_array(
            probabilities in probabilities(), options in options(), cut in 0u64..512,
        ) {
            let total = ((probabilities.len() * WINDOW) as u64).saturating_sub(cut);
            let found = regions_of(&probabilities, total, options);
            let spans: Vec<_> = found.iter().map(|(region, _)| (region.span.start, region.span.end)).collect();
            prop_assert_eq!(&spans, &reference(&probabilities, total, options));
            for (start, end) in &spans {
                prop_assert!(start < end && *end <= total);
            }
            for pair in spans.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0);
            }
            for (region, _) in &found {
                prop_assert!((0.0..=1.0).contains(&region.confidence));
            }
        }
    }

    #[test]
    fn speech_without_a_pause_is_cut_at_its_weakest_moment_before_it_ends() {
        let limit = LongestRegion { length: 30 * 16_000, lookahead: 2 * 16_000 };
        let mut builder = RegionBuilder::new(WINDOW, VadOptions::default()).with_longest(limit);
        let mut found = Vec::new();
        // Two minutes; every ten seconds a moment of doubt, the deepest of them after 25 s and 52 s.
        for at in 0..3_750 {
            let probability = match at {
                781 => 0.6,
                1_625 => 0.5,
                _ if at % 312 == 0 => 0.8,
                _ => 0.99,
            };
            found.extend(builder.push(probability).map(|region| (region, at)));
        }
        assert_eq!(found[0].0.span, TimeSpan::new(0, 781 * 512));
        assert_eq!(found[1].0.span, TimeSpan::new(781 * 512, 1_625 * 512));
        for (region, at) in &found {
            assert!(region.continues);
            let known = (*at as u64 + 1) * 512;
            assert!(known >= region.span.end + limit.lookahead, "{region:?} at {known}");
            assert!(known <= region.span.start + limit.length + limit.lookahead + 2 * 512);
        }
        let last = builder.finish(3_750 * 512);
        assert!(last.len() == 1 && !last[0].continues && last[0].span.end == 3_750 * 512);
        assert_eq!(last[0].span.start, found[found.len() - 1].0.span.end);
    }

    proptest! {
        #[test]
        fn cutting_long_regions_loses_no_speech(
            runs in prop::collection::vec((0.0f32..1.0, 1usize..400), 1..30), seconds in 1u64..8,
        ) {
            let probabilities: Vec<f32> =
                runs.iter().flat_map(|(probability, count)| vec![*probability; *count]).collect();
            let total = (probabilities.len() * WINDOW) as u64;
            let limit = LongestRegion { length: seconds * 16_000, lookahead: 8_000 };
            let regions = |mut builder: RegionBuilder| {
                let mut all: Vec<SpeechRegion> =
                    probabilities.iter().filter_map(|probability| builder.push(*probability)).collect();
                all.extend(builder.finish(total));
                all
            };
            let whole = regions(RegionBuilder::new(WINDOW, VadOptions::default()));
            let cut = regions(RegionBuilder::new(WINDOW, VadOptions::default()).with_longest(limit));
            for region in &cut {
                prop_assert!(!region.span.is_empty() && region.span.end <= total);
                prop_assert!(region.span.len() <= limit.length.max(16_000) + limit.lookahead + 9_600 + 16 * 512);
            }
            for pair in cut.windows(2) {
                prop_assert!(pair[0].span.end <= pair[1].span.start);
            }
            // All that was speech still is, but for what stays of a piece shorter than the least speech.
            for region in &whole {
                let kept: u64 = cut.iter().map(|piece| piece.span.common(region.span)).sum();
                prop_assert!(kept + 9_600 + 1_600 + 3_200 + 512 >= region.span.len(), "{region:?} {cut:?}");
            }
        }
    }
}
