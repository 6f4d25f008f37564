//! Speech regions to chunks for the recogniser. Pure.
//!
//! Regions are packed together, so that a chunk is one contiguous stretch of the recording. Its length is counted as
//! it is heard: long pauses are shortened (`condensed`), so that recordings with little speech fill the
//! recogniser's window too. Where somebody speaks on for longer than a chunk may be, chunks overlap and
//! `asr::stitch` joins what both heard.

use std::collections::VecDeque;

use crate::time::{Chunk, SampleIndex, SpeechRegion, TimeSpan, ms_to_samples};

use super::condensed::heard_pause;
use super::regions::LongestRegion;

/// A longer pause is never bridged inside a chunk that is heard whole, in ms: the recogniser would spend its
/// window on silence, in which Whisper tends to invent text.
const MAX_WHOLE_PAUSE_MS: u64 = 3_000;

/// A longer pause is never bridged where pauses are shortened, in ms: what was said before it should not wait
/// for what comes after.
const MAX_SHORTENED_PAUSE_MS: u64 = 60_000;

/// Longest stretch of the recording in one chunk, in ms, however little of it is heard: text, progress and
/// the search for the language are not to wait for more. One window for two minutes is cheap enough.
const MAX_STRETCH_MS: u64 = 120_000;

/// Longer times in the options count as this much, so that no sum of samples overflows.
const MAX_OPTION_MS: u64 = 24 * 3_600_000;

/// How the recording is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChunkOptions {
    /// Longest chunk as it is heard, in ms; the recogniser's window. At least 1.
    pub max_ms: u64,
    /// A chunk is closed at the first pause after this much, in ms. `max_ms` packs as much as fits; 0
    /// gives every region a chunk of its own.
    pub target_ms: u64,
    /// Overlap of two chunks where there is no pause to cut in, in ms; at most half of `max_ms`.
    pub overlap_ms: u64,
    /// Longer pauses inside a chunk are shortened to this much, in ms, by leaving out their middle; then pauses
    /// up to a minute may lie in a chunk. 0 keeps pauses whole, and chunks end at pauses of more than 3 s.
    pub max_pause_ms: u64,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        Self { max_ms: 30_000, target_ms: 30_000, overlap_ms: 4_000, max_pause_ms: 1_000 }
    }
}

impl ChunkOptions {
    /// What pauses inside a chunk are shortened to, in samples; `None` where they are heard whole.
    pub fn max_pause(&self) -> Option<SampleIndex> {
        (self.max_pause_ms > 0).then(|| ms_to_samples(self.max_pause_ms.min(MAX_OPTION_MS)))
    }

    /// The longest region that fits into a chunk with half an overlap at both ends, for `RegionBuilder`.
    pub fn longest_region(&self) -> LongestRegion {
        let max = ms_to_samples(self.max_ms.clamp(1, MAX_OPTION_MS));
        let overlap = ms_to_samples(self.overlap_ms.min(MAX_OPTION_MS)).min(max / 2);
        LongestRegion { length: max - overlap, lookahead: overlap / 2 }
    }
}

/// Turns regions into chunks as they come.
///
/// A region that continues ends its chunk with half an overlap beyond it, and the next begins with half an
/// overlap before, so that both hear the words at the cut.
///
/// No chunk is heard for longer than `max_ms`; every sample of every region is owned by exactly one chunk; spans
/// and owned spans are ordered, and at most two consecutive chunks hear the same sample.
pub struct Chunker {
    max: SampleIndex,
    target: SampleIndex,
    overlap: SampleIndex,
    /// What pauses are shortened to.
    max_pause: Option<SampleIndex>,
    /// A chunk is closed at longer pauses.
    max_bridged: SampleIndex,
    max_stretch: SampleIndex,
    /// What the open chunk packs, in order; together heard for at most `max`.
    packed: Vec<TimeSpan>,
    /// Where the open chunk begins to own, if that is later than it begins to hear.
    owned_start: SampleIndex,
    /// Where the last region was cut, and where one that goes on there is to be heard from.
    cut: Option<(SampleIndex, SampleIndex)>,
}

impl Chunker {
    /// A chunker for one recording. Options out of range are brought into it.
    pub fn new(options: ChunkOptions) -> Self {
        let max = ms_to_samples(options.max_ms.clamp(1, MAX_OPTION_MS));
        Self {
            max,
            target: ms_to_samples(options.target_ms.min(MAX_OPTION_MS)).min(max),
            overlap: ms_to_samples(options.overlap_ms.min(MAX_OPTION_MS)).min(max / 2),
            max_pause: options.max_pause(),
            max_bridged: ms_to_samples(match options.max_pause_ms {
                0 => MAX_WHOLE_PAUSE_MS,
                _ => MAX_SHORTENED_PAUSE_MS,
            }),
            max_stretch: ms_to_samples(MAX_STRETCH_MS).max(max),
            packed: Vec::new(),
            owned_start: 0,
            cut: None,
        }
    }

    /// Takes the next region; gives the chunks that are now complete.
    pub fn push(&mut self, region: SpeechRegion) -> Vec<Chunk> {
        let mut done = Vec::new();
        let mut span = self.heard(region);
        if let (Some(first), Some(last)) = (self.packed.first(), self.packed.last()) {
            let too_far = span.start.saturating_sub(last.end) > self.max_bridged
                || span.end - first.start > self.max_stretch;
            if too_far || span.len() > self.max {
                done.extend(self.close(self.packed.len()));
            } else if self.heard_with(&self.packed, span) > self.max {
                done.extend(self.close(self.best_cut(span)));
            }
        }
        if span.len() > self.max {
            span = self.split(span, &mut done);
        }
        self.packed.push(span);
        if region.continues {
            done.extend(self.close_at_cut(region.span.end));
        } else if self.heard_length(&self.packed) >= self.target {
            done.extend(self.close(self.packed.len()));
        }
        done
    }

    /// The region with what is heard beyond its cuts.
    fn heard(&mut self, region: SpeechRegion) -> TimeSpan {
        let start = match self.cut.take() {
            Some((cut, from)) if cut == region.span.start => from,
            _ => region.span.start,
        };
        let beyond = if region.continues { self.overlap / 2 } else { 0 };
        TimeSpan::new(start, region.span.end + beyond)
    }

    /// Closes the open chunk, whose last region was cut at `cut`.
    fn close_at_cut(&mut self, cut: SampleIndex) -> Option<Chunk> {
        let mut chunk = self.close(self.packed.len())?;
        chunk.owned = TimeSpan::new(chunk.owned.start, cut.max(chunk.owned.start));
        self.owned_start = cut;
        self.cut = Some((cut, cut.saturating_sub(self.overlap / 2).max(chunk.span.start + 1)));
        Some(chunk)
    }

    /// Ends the recording; gives what is still open.
    pub fn finish(mut self) -> Vec<Chunk> {
        self.close(self.packed.len()).into_iter().collect()
    }

    /// How long `regions` are heard, with the pauses between them.
    fn heard_length(&self, regions: &[TimeSpan]) -> SampleIndex {
        let pauses = regions.windows(2).map(|pair| pair[1].start.saturating_sub(pair[0].end));
        let pauses: SampleIndex = pauses.map(|pause| heard_pause(pause, self.max_pause)).sum();
        pauses + regions.iter().map(TimeSpan::len).sum::<SampleIndex>()
    }

    /// How long `regions` are heard with `next` after them.
    fn heard_with(&self, regions: &[TimeSpan], next: TimeSpan) -> SampleIndex {
        let pause = regions.last().map_or(0, |last| next.start.saturating_sub(last.end));
        self.heard_length(regions) + heard_pause(pause, self.max_pause) + next.len()
    }

    /// How many of the packed regions to close so that `next` fits with the rest: up to the longest pause
    /// in the last third of the window, or to the last pause when none is there. Of equal pauses the
    /// later counts (touching regions were padded up to the middle of a pause).
    fn best_cut(&self, next: TimeSpan) -> usize {
        let late = self.max * 2 / 3;
        let candidates = (1..=self.packed.len()).filter_map(|count| {
            let rest_start = self.packed.get(count).map_or(next.start, |region| region.start);
            let cut = self.packed[count - 1].end;
            let fits = self.heard_with(&self.packed[count..], next) <= self.max;
            let is_late = self.heard_length(&self.packed[..count]) >= late;
            (fits && is_late).then_some((rest_start.saturating_sub(cut), count))
        });
        candidates.max().map_or(self.packed.len(), |(_, count)| count)
    }

    /// Closes the chunk of the first `count` packed regions; the others stay open.
    fn close(&mut self, count: usize) -> Option<Chunk> {
        let closed = self.packed.drain(..count);
        let span = closed.fold(None, |span: Option<TimeSpan>, region| {
            Some(TimeSpan::new(span.map_or(region.start, |span| span.start), region.end))
        })?;
        let owned = TimeSpan::new(self.owned_start.max(span.start), span.end);
        Some(Chunk { span, owned })
    }

    /// Cuts speech without a pause into overlapping chunks that own up to the middle of each overlap.
    /// Gives the last piece, not longer than `max`, which what follows may be packed with.
    fn split(&mut self, long: TimeSpan, done: &mut Vec<Chunk>) -> TimeSpan {
        let mut piece = TimeSpan::new(long.start, long.start + self.max);
        // What comes before was answered for by the chunk that was cut there.
        let mut owned_start = self.owned_start.max(long.start);
        while piece.end < long.end {
            let owned_end = (piece.end - self.overlap / 2).max(owned_start);
            done.push(Chunk { span: piece, owned: TimeSpan::new(owned_start, owned_end) });
            owned_start = owned_end;
            piece = piece.shifted(self.max - self.overlap);
        }
        self.owned_start = owned_start;
        TimeSpan::new(piece.start, long.end)
    }
}

/// Remembers where speech was found until the chunks that hear it have been given out.
#[derive(Default)]
pub struct SpeechLog {
    regions: VecDeque<SpeechRegion>,
}

impl SpeechLog {
    /// Takes the next region.
    pub fn push(&mut self, region: &SpeechRegion) {
        self.regions.push_back(*region);
    }

    /// The speech that `chunk` hears, in order. Chunks come in order; what only earlier ones heard is forgotten.
    pub fn of(&mut self, chunk: &Chunk) -> Vec<TimeSpan> {
        while self.regions.front().is_some_and(|region| region.span.end <= chunk.span.start) {
            self.regions.pop_front();
        }
        let heard = self.regions.iter().take_while(|region| region.span.start < chunk.span.end);
        let mut speech: Vec<TimeSpan> = heard.map(|region| region.span.clamped(chunk.span)).collect();
        // Beyond a cut the speech goes on, though its region has not come yet.
        if let (Some(last), Some(region)) = (speech.last_mut(), self.regions.back())
            && region.continues
            && last.end == region.span.end
        {
            last.end = chunk.span.end;
        }
        speech.retain(|region| !region.is_empty());
        speech
    }

    /// How sure the detector is of the speech that `chunk` hears: the mean probability of its surest region, in [0, 1].
    /// Ask after `of`.
    pub fn confidence(&self, chunk: &Chunk) -> f32 {
        let heard = self.regions.iter().filter(|region| region.span.common(chunk.span) > 0);
        heard.map(|region| region.confidence).fold(0.0, f32::max)
    }
}

#[cfg(test)]
mod tests {
    use super::super::condensed::Condensed;
    use super::*;
    use proptest::prelude::*;

    const WHOLE: ChunkOptions =
        ChunkOptions { max_ms: 30_000, target_ms: 30_000, overlap_ms: 4_000, max_pause_ms: 0 };

    /// Chunks of regions given in seconds; (span start, span end, owned start, owned end) in seconds.
    fn chunks_of(regions: &[(f64, f64)], options: ChunkOptions) -> Vec<(f64, f64, f64, f64)> {
        let seconds = |at: SampleIndex| at as f64 / 16_000.0;
        cut(regions.iter().map(|&(start, end)| span(start, end)), options)
            .iter()
            .map(|c| {
                (seconds(c.span.start), seconds(c.span.end), seconds(c.owned.start), seconds(c.owned.end))
            })
            .collect()
    }

    fn span(start: f64, end: f64) -> TimeSpan {
        TimeSpan::new((start * 16_000.0) as u64, (end * 16_000.0) as u64)
    }

    fn cut(spans: impl Iterator<Item = TimeSpan>, options: ChunkOptions) -> Vec<Chunk> {
        let mut chunker = Chunker::new(options);
        let mut chunks: Vec<Chunk> = spans
            .flat_map(|span| chunker.push(SpeechRegion { span, confidence: 1.0, continues: false }))
            .collect();
        chunks.extend(chunker.finish());
        chunks
    }

    #[test]
    fn no_speech_gives_no_chunk() {
        assert_eq!(chunks_of(&[], ChunkOptions::default()), []);
    }

    #[test]
    fn regions_are_packed_until_the_next_does_not_fit() {
        let regions = [(1.0, 9.0), (10.0, 19.0), (20.0, 28.0), (29.0, 35.0)];
        assert_eq!(
            chunks_of(&regions, ChunkOptions::default()),
            [(1.0, 28.0, 1.0, 28.0), (29.0, 35.0, 29.0, 35.0)]
        );
    }

    #[test]
    fn the_cut_falls_into_the_longest_pause_of_the_last_third() {
        let regions = [(0.0, 8.0), (10.5, 20.5), (22.5, 27.0), (27.5, 29.0), (29.3, 40.0)];
        assert_eq!(chunks_of(&regions, WHOLE), [(0.0, 20.5, 0.0, 20.5), (22.5, 40.0, 22.5, 40.0)]);
    }

    #[test]
    fn the_best_pause_is_passed_over_when_the_rest_would_not_fit() {
        let regions = [(0.0, 21.0), (23.0, 29.0), (29.3, 54.0)];
        assert_eq!(chunks_of(&regions, WHOLE), [(0.0, 29.0, 0.0, 29.0), (29.3, 54.0, 29.3, 54.0)]);
    }

    #[test]
    fn a_long_silence_is_never_bridged_whole() {
        let regions = [(0.0, 2.0), (4.9, 6.0), (9.1, 10.0)];
        assert_eq!(chunks_of(&regions, WHOLE), [(0.0, 6.0, 0.0, 6.0), (9.1, 10.0, 9.1, 10.0)]);
    }

    #[test]
    fn long_pauses_count_as_they_are_heard() {
        // Nine seconds of speech and a second of each pause: three regions make a window.
        let regions = [(0.0, 9.0), (20.0, 29.0), (40.0, 49.0), (60.0, 69.0), (70.0, 71.0)];
        assert_eq!(
            chunks_of(&regions, ChunkOptions::default()),
            [(0.0, 49.0, 0.0, 49.0), (60.0, 71.0, 60.0, 71.0)]
        );
    }

    #[test]
    fn the_cut_of_shortened_pauses_falls_into_the_longest_of_the_last_third_too() {
        let regions = [(0.0, 10.0), (50.0, 61.0), (70.0, 73.0), (74.0, 76.0), (80.0, 90.0)];
        assert_eq!(
            chunks_of(&regions, ChunkOptions::default()),
            [(0.0, 61.0, 0.0, 61.0), (70.0, 90.0, 70.0, 90.0)]
        );
    }

    #[test]
    fn a_pause_of_more_than_a_minute_and_a_stretch_of_more_than_two_end_a_chunk() {
        let regions = [(0.0, 2.0), (62.5, 64.0), (120.0, 122.0), (170.0, 172.0), (182.0, 183.0)];
        assert_eq!(
            chunks_of(&regions, ChunkOptions::default()),
            [(0.0, 2.0, 0.0, 2.0), (62.5, 172.0, 62.5, 172.0), (182.0, 183.0, 182.0, 183.0)]
        );
    }

    #[test]
    fn target_zero_gives_every_region_its_own_chunk_at_once() {
        let mut chunker = Chunker::new(ChunkOptions { target_ms: 0, ..ChunkOptions::default() });
        let first = chunker.push(SpeechRegion { span: span(0.0, 1.0), confidence: 1.0, continues: false });
        assert_eq!(first, [Chunk { span: span(0.0, 1.0), owned: span(0.0, 1.0) }]);
    }

    #[test]
    fn a_chunk_is_closed_at_the_first_pause_after_the_target() {
        let options = ChunkOptions { target_ms: 10_000, ..ChunkOptions::default() };
        let regions = [(0.0, 6.0), (7.0, 13.0), (14.0, 15.0)];
        assert_eq!(chunks_of(&regions, options), [(0.0, 13.0, 0.0, 13.0), (14.0, 15.0, 14.0, 15.0)]);
    }

    #[test]
    fn speech_without_a_pause_is_cut_with_an_overlap_that_both_own_half_of() {
        assert_eq!(
            chunks_of(&[(1.0, 60.0), (61.0, 63.0)], ChunkOptions::default()),
            [(1.0, 31.0, 1.0, 29.0), (27.0, 57.0, 29.0, 55.0), (53.0, 63.0, 55.0, 63.0)]
        );
    }

    /// Region lengths and the pauses before them, in samples, short and long ones alike.
    fn regions() -> impl Strategy<Value = Vec<TimeSpan>> {
        let pause = prop_oneof![0u64..2, 1_000u64..20_000, 20_000u64..100_000];
        let length = prop_oneof![1u64..2_000, 2_000u64..100_000, 100_000u64..2_000_000];
        prop::collection::vec((pause, length), 0..40).prop_map(|parts| {
            let mut at = 0;
            let place = |(pause, length): (u64, u64)| {
                let span = TimeSpan::new(at + pause, at + pause + length);
                at = span.end;
                span
            };
            parts.into_iter().map(place).collect()
        })
    }

    prop_compose! {
        fn options()(
            max_ms in prop_oneof![1u64..50, 1_000u64..40_000], target_ms in 0u64..40_000,
            overlap_ms in 0u64..6_000, max_pause_ms in prop_oneof![Just(0u64), 1u64..4_000],
        ) -> ChunkOptions {
            ChunkOptions { max_ms: max_ms.max(20), target_ms, overlap_ms, max_pause_ms }
        }
    }

    proptest! {
        #[test]
        fn every_sample_of_speech_is_owned_once_and_no_chunk_is_too_long(
            regions in regions(), options in options(),
        ) {
            let chunks = cut(regions.iter().copied(), options);
            for chunk in &chunks {
                let heard = Condensed::new(chunk.span, &regions, options.max_pause());
                prop_assert!(heard.len() <= ms_to_samples(options.max_ms));
                prop_assert!(chunk.span.len() <= ms_to_samples(options.max_ms.max(MAX_STRETCH_MS)));
                prop_assert!(!chunk.owned.is_empty());
                prop_assert_eq!(chunk.owned.clamped(chunk.span), chunk.owned);
            }
            for pair in chunks.windows(2) {
                prop_assert!(pair[0].owned.end <= pair[1].owned.start);
                prop_assert!(pair[0].span.start < pair[1].span.start && pair[0].span.end < pair[1].span.end);
                if pair[1].span.start < pair[0].span.end {
                    prop_assert_eq!(pair[0].owned.end, pair[1].owned.start);
                }
            }
            for triple in chunks.windows(3) {
                prop_assert!(triple[0].span.end <= triple[2].span.start);
            }
            // Owned spans are disjoint, so their common length with a region counts each sample once.
            for region in &regions {
                let owned: u64 = chunks.iter().map(|chunk| chunk.owned.clamped(*region).len()).sum();
                prop_assert_eq!(owned, region.len());
            }
        }

        #[test]
        fn what_the_log_says_of_a_chunk_is_heard_within_a_window(
            regions in regions(), options in options(), seed in any::<u64>(),
        ) {
            // Regions as the builder gives them: none too long, some of them cut.
            let longest = options.longest_region();
            let mut chunker = Chunker::new(options);
            let mut log = SpeechLog::default();
            let mut found = Vec::new();
            let mut give = |region: SpeechRegion| {
                log.push(&region);
                for chunk in chunker.push(region) {
                    let speech = log.of(&chunk);
                    found.push((chunk, speech));
                }
            };
            let mut pieces = Vec::new();
            for (index, span) in regions.iter().enumerate() {
                let mut start = span.start;
                while span.end - start > longest.length {
                    let cut = start + longest.length - (seed >> (index % 64)) % (longest.length / 2).max(1);
                    pieces.push(SpeechRegion {
                        span: TimeSpan::new(start, cut),
                        confidence: 1.0,
                        continues: true,
                    });
                    start = cut;
                }
                let span = TimeSpan::new(start, span.end);
                pieces.push(SpeechRegion { span, confidence: 1.0, continues: false });
            }
            pieces.iter().for_each(|region| give(*region));
            for chunk in chunker.finish() {
                let speech = log.of(&chunk);
                found.push((chunk, speech));
            }
            for (chunk, speech) in found {
                let heard = Condensed::new(chunk.span, &speech, options.max_pause());
                prop_assert!(heard.len() <= ms_to_samples(options.max_ms));
            }
        }

        #[test]
        fn a_pause_is_bridged_whole_only_when_it_is_short(regions in regions()) {
            let chunks = cut(regions.iter().copied(), WHOLE);
            for pair in regions.windows(2) {
                let pause = TimeSpan::new(pair[0].end, pair[1].start);
                let bridged = chunks.iter().any(|c| c.span.start < pause.end && pause.start < c.span.end);
                prop_assert!(!bridged || pause.is_empty() || pause.len() <= ms_to_samples(MAX_WHOLE_PAUSE_MS));
            }
        }
    }

    #[test]
    fn chunks_overlap_at_the_cuts_of_a_region_that_continues() {
        let mut chunker = Chunker::new(ChunkOptions::default());
        let mut log = SpeechLog::default();
        let region =
            |start, end, continues| SpeechRegion { span: span(start, end), confidence: 1.0, continues };
        let regions = [region(1.0, 24.0, true), region(24.0, 40.0, true), region(40.0, 45.0, false)];
        let mut chunks = Vec::new();
        for region in regions {
            log.push(&region);
            for chunk in chunker.push(region) {
                chunks.push((chunk, log.of(&chunk)));
            }
        }
        chunks.extend(chunker.finish().into_iter().map(|chunk| (chunk, log.of(&chunk))));
        let expected = [
            (span(1.0, 26.0), span(1.0, 24.0), vec![span(1.0, 26.0)]),
            (span(22.0, 42.0), span(24.0, 40.0), vec![span(22.0, 24.0), span(24.0, 42.0)]),
            (span(38.0, 45.0), span(40.0, 45.0), vec![span(38.0, 40.0), span(40.0, 45.0)]),
        ];
        let found: Vec<_> =
            chunks.into_iter().map(|(chunk, speech)| (chunk.span, chunk.owned, speech)).collect();
        assert_eq!(found, expected);
    }

    /// Found by the fuzz target `hearing`: a region too long for its chunk, after a cut.
    #[test]
    fn speech_before_a_cut_is_answered_for_once_even_when_what_follows_must_be_split() {
        let options = ChunkOptions { max_ms: 10_000, target_ms: 10_000, overlap_ms: 4_000, max_pause_ms: 0 };
        let mut chunker = Chunker::new(options);
        let region =
            |start, end, continues| SpeechRegion { span: span(start, end), confidence: 1.0, continues };
        let regions = [region(0.0, 8.0, true), region(8.0, 17.0, true), region(17.0, 20.0, false)];
        let mut chunks: Vec<Chunk> = regions.into_iter().flat_map(|region| chunker.push(region)).collect();
        chunks.extend(chunker.finish());
        let owned: Vec<TimeSpan> = chunks.iter().map(|chunk| chunk.owned).collect();
        assert_eq!(owned, [span(0.0, 8.0), span(8.0, 14.0), span(14.0, 17.0), span(17.0, 20.0)]);
    }

    #[test]
    fn the_longest_region_fits_with_its_overlaps() {
        let options = ChunkOptions::default();
        let LongestRegion { length, lookahead } = options.longest_region();
        assert_eq!(length + 2 * lookahead, ms_to_samples(options.max_ms));
    }

    #[test]
    fn a_region_elsewhere_does_not_go_on_from_a_cut() {
        let mut chunker = Chunker::new(ChunkOptions::default());
        chunker.push(SpeechRegion { span: span(0.0, 20.0), confidence: 1.0, continues: true });
        chunker.push(SpeechRegion { span: span(90.0, 92.0), confidence: 1.0, continues: false });
        let last = chunker.finish();
        assert_eq!(last, [Chunk { span: span(90.0, 92.0), owned: span(90.0, 92.0) }]);
    }
}
