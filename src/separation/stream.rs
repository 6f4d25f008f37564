//! One separator over a recording of any length, in bounded memory.
//!
//! ```text
//! window n     |margin|fade|          alone          |fade|margin|
//! window n+1                          |margin|fade|          alone          |fade|margin|
//! ```
//!
//! Windows begin at multiples of the model's hop, so that all of them cut the sound into the same frames. What a window
//! gives within `margin` of its ends is thrown away: there its frames see the reflection of the sound and not
//! what follows. Over `OVERLAP_HOPS` hops neighbours are cross-faded. The recording's own beginning and end are no
//! seams: the first window begins at 0, and the last one ends where the recording does, to the next hop.
//!
//! The price of the seams: a window moves on by its length less two margins and a fade. For MDX-Net with frames of 7680
//! samples (a window of 255 hops, a margin of 7.5) that is 224 hops, 14 % more work than windows side by side.
//!
//! Where nobody wants a window's voice the voice is the sound itself, sample for sample, and the model does not run.
//! Spans here count samples at the separator's rate, not on the 16 kHz clock.

use std::sync::Arc;

use super::reflect::reflected;
use super::{SeparationError, SeparatorSpec, VocalSeparator};
use crate::time::{SampleIndex, TimeSpan};

/// How long neighbours are cross-faded, in hops; shorter windows take a quarter of their length.
const OVERLAP_HOPS: SampleIndex = 16;

/// Says whether anybody wants the voice of a span, in samples at the separator's rate.
pub type Wanted<'a> = dyn FnMut(TimeSpan) -> bool + 'a;

/// Hears a recording window by window, as its sound comes in.
///
/// After an error the stream is of no further use.
pub struct VoiceStream {
    separator: Arc<dyn VocalSeparator>,
    layout: Layout,
    /// The sound from `held` on, one `Vec` per channel: back to where the last window began, from which the
    /// recording's last one may have to take its beginning.
    mix: Vec<Vec<f32>>,
    /// Where in the recording `mix` begins, and where the next window does.
    held: SampleIndex,
    next: SampleIndex,
    /// What the last window makes of the samples in which the next one is faded in; `None` where it is the sound
    /// itself, and before the first window.
    leaving: Option<Vec<Vec<f32>>>,
    /// How much of the voice has been given.
    given: SampleIndex,
    separated: Vec<TimeSpan>,
    separated_until: SampleIndex,
    /// A window's sound and its voice, kept to be used again.
    window: Vec<Vec<f32>>,
    heard: Vec<Vec<f32>>,
}

impl VoiceStream {
    /// A stream of `channels` channels, 1 or 2.
    ///
    /// # Panics
    /// With another number of channels.
    pub fn new(separator: Arc<dyn VocalSeparator>, channels: usize) -> Self {
        assert!(matches!(channels, 1 | 2), "one channel or two");
        let empty = || vec![Vec::new(); channels];
        Self {
            layout: Layout::new(separator.spec()),
            separator,
            mix: empty(),
            held: 0,
            next: 0,
            leaving: None,
            given: 0,
            separated: Vec::new(),
            separated_until: 0,
            window: empty(),
            heard: empty(),
        }
    }

    /// Takes the next of the recording, planar samples at the separator's rate in pieces of any
    /// length, all channels equally long, and appends to `voice`
    /// (one `Vec` per channel) what is complete. For each window that is complete `wanted` is asked once, with the span
    /// that the window answers for; there is no better moment to look whether the request has been cancelled.
    ///
    /// # Errors
    /// As the separator.
    pub fn push(
        &mut self,
        mix: &[Vec<f32>],
        wanted: &mut Wanted<'_>,
        voice: &mut [Vec<f32>],
    ) -> Result<(), SeparationError> {
        debug_assert!(mix.len() == self.mix.len() && mix.iter().all(|channel| channel.len() == mix[0].len()));
        for (held, new) in self.mix.iter_mut().zip(mix) {
            held.extend_from_slice(new);
        }
        // One window more than is complete: the last one has an end of its own, and only `flush` knows which it is.
        while self.end() > self.next + self.layout.window {
            let window = TimeSpan::new(self.next, self.next + self.layout.window);
            let until = window.end - self.layout.margin;
            self.hear(window, until, wanted)?;
            self.give(until - self.layout.overlap, voice);
            self.leave(until);
            self.advance();
        }
        Ok(())
    }

    /// The recording has ended: appends the rest, upon which the voice is as long as the sound. The stream can then
    /// take another recording.
    ///
    /// # Errors
    /// As the separator.
    pub fn flush(&mut self, wanted: &mut Wanted<'_>, voice: &mut [Vec<f32>]) -> Result<(), SeparationError> {
        let end = self.end();
        if end > self.given {
            self.hear(self.layout.last_window(end), end, wanted)?;
            self.give(end, voice);
        }
        self.mix.iter_mut().for_each(Vec::clear);
        (self.held, self.next, self.given, self.separated_until) = (0, 0, 0, 0);
        self.leaving = None;
        Ok(())
    }

    /// Takes the spans separated since the last call, in samples at the separator's rate, cross-fades included: sorted,
    /// disjoint; they may adjoin.
    pub fn take_separated(&mut self) -> Vec<TimeSpan> {
        std::mem::take(&mut self.separated)
    }

    /// How much of the recording has come in.
    fn end(&self) -> SampleIndex {
        self.held + self.mix.first().map_or(0, Vec::len) as SampleIndex
    }

    /// Leaves in `heard` what is to be given from `given` until `until`: the voice in `window`, or the sound itself,
    /// faded in from what was there before.
    fn hear(
        &mut self,
        window: TimeSpan,
        until: SampleIndex,
        wanted: &mut Wanted<'_>,
    ) -> Result<(), SeparationError> {
        let span = TimeSpan::new(self.given, until);
        let is_separated = wanted(span);
        if is_separated {
            self.separate(window)?;
            let skipped = (span.start - window.start) as usize;
            for voice in &mut self.heard {
                voice.drain(..skipped);
                voice.truncate(span.len() as usize);
            }
            let start = span.start.max(self.separated_until);
            self.separated.push(TimeSpan::new(start, until));
            self.separated_until = until;
        } else {
            let from = (span.start - self.held) as usize;
            for (voice, mix) in self.heard.iter_mut().zip(&self.mix) {
                voice.clear();
                voice.extend_from_slice(&mix[from..from + span.len() as usize]);
            }
        }
        self.fade_in(is_separated);
        Ok(())
    }

    /// Leaves the voice of a whole window in `heard`; behind the recording's end its reflection is heard.
    fn separate(&mut self, window: TimeSpan) -> Result<(), SeparationError> {
        let from = (window.start - self.held) as usize;
        for ((part, heard), mix) in self.window.iter_mut().zip(&mut self.heard).zip(&self.mix) {
            let length = window.len() as usize;
            let known = &mix[from..mix.len().min(from + length)];
            part.clear();
            part.extend_from_slice(known);
            part.extend((known.len()..length).map(|at| reflected(known, at as i64)));
            heard.clear();
            heard.resize(length, 0.0);
        }
        self.separator.separate(&self.window, &mut self.heard)
    }

    /// Fades from what the last window left to the beginning of `heard`.
    fn fade_in(&mut self, is_separated: bool) {
        let is_first = self.given == 0;
        let leaving = self.leaving.take();
        if is_first || (leaving.is_none() && !is_separated) {
            return;
        }
        let from = (self.given - self.held) as usize;
        for (channel, (new, mix)) in self.heard.iter_mut().zip(&self.mix).enumerate() {
            let length = (self.layout.overlap as usize).min(new.len());
            let old = match &leaving {
                Some(leaving) => &leaving[channel][..length],
                None => &mix[from..from + length],
            };
            for (at, (new, old)) in new.iter_mut().zip(old).enumerate() {
                let share = (at as f32 + 0.5) / length as f32;
                *new = old + share * (*new - old);
            }
        }
    }

    /// Moves the beginning of `heard`, up to `until`, to `voice`.
    fn give(&mut self, until: SampleIndex, voice: &mut [Vec<f32>]) {
        let count = (until - self.given) as usize;
        for (voice, heard) in voice.iter_mut().zip(&mut self.heard) {
            voice.extend(heard.drain(..count));
        }
        self.given = until;
    }

    /// Keeps the rest of `heard`, up to `until`, for the next window to be faded in, unless it is the sound itself.
    fn leave(&mut self, until: SampleIndex) {
        self.leaving = (self.separated_until == until).then(|| self.heard.clone());
    }

    /// Goes to the next window; the one before stays.
    fn advance(&mut self) {
        let dropped = (self.next - self.held) as usize;
        for mix in &mut self.mix {
            mix.drain(..dropped);
        }
        self.held = self.next;
        self.next += self.layout.stride;
    }
}

/// How windows lie, in samples.
struct Layout {
    window: SampleIndex,
    hop: SampleIndex,
    margin: SampleIndex,
    /// From one window to the next.
    stride: SampleIndex,
    overlap: SampleIndex,
}

impl Layout {
    /// # Panics
    /// When two margins leave less than two hops of the window, or the window is not whole hops.
    fn new(spec: SeparatorSpec) -> Self {
        let SeparatorSpec { window, hop, margin, .. } = spec;
        let inner = window.saturating_sub(2 * margin);
        assert!(
            hop > 0 && window % hop == 0 && inner >= 2 * hop,
            "windows are whole hops beyond their margins"
        );
        let wanted = (OVERLAP_HOPS * hop).min(inner / 4);
        let stride = (inner - wanted) / hop * hop;
        Self { window, hop, margin, stride, overlap: inner - stride }
    }

    /// The window that ends where the recording does, at `end`, to the next hop; a shorter recording's only one
    /// begins at 0.
    fn last_window(&self, end: SampleIndex) -> TimeSpan {
        let start = end.next_multiple_of(self.hop).saturating_sub(self.window);
        TimeSpan::new(start, start + self.window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::stft::Stft;
    use super::super::stft::tests::{error_db, noise};
    use super::*;

    const SPEC: SeparatorSpec =
        SeparatorSpec { sample_rate: 44_100, window: 63 * 512, hop: 512, margin: 2_048 };

    /// Keeps the bins of a voice, as a network with a fixed mask would.
    struct Band(Stft);

    impl Band {
        fn new() -> Arc<Self> {
            Arc::new(Self(Stft::new(2_048, 512).unwrap()))
        }

        fn filter(&self, samples: &[f32], out: &mut [f32]) {
            let mut frames = Vec::new();
            self.0.forward(samples, |_, bins| frames.push(bins.to_vec()));
            self.0.inverse(out, |frame, bins| {
                bins.copy_from_slice(&frames[frame]);
                bins[..10].fill(Default::default());
                bins[158..].fill(Default::default());
            });
        }

        /// The voice of a whole recording in one piece, its end mirrored as far as the stream mirrors it.
        fn whole(&self, samples: &[f32]) -> Vec<f32> {
            let padded = samples.len().next_multiple_of(512).max(SPEC.window as usize);
            let mirrored: Vec<f32> = (0..padded).map(|at| reflected(samples, at as i64)).collect();
            let mut voice = vec![0.0; padded];
            self.filter(&mirrored, &mut voice);
            voice.truncate(samples.len());
            voice
        }
    }

    impl VocalSeparator for Band {
        fn spec(&self) -> SeparatorSpec {
            SPEC
        }

        fn separate(&self, mix: &[Vec<f32>], voice: &mut [Vec<f32>]) -> Result<(), SeparationError> {
            for (mix, voice) in mix.iter().zip(voice) {
                assert_eq!(mix.len(), SPEC.window as usize);
                self.filter(mix, voice);
            }
            Ok(())
        }
    }

    fn stream(mix: &[Vec<f32>], piece: usize, wanted: &mut Wanted<'_>) -> (Vec<Vec<f32>>, Vec<TimeSpan>) {
        let mut stream = VoiceStream::new(Band::new(), mix.len());
        let mut voice = vec![Vec::new(); mix.len()];
        let length = mix[0].len();
        for start in (0..length).step_by(piece) {
            let part: Vec<_> =
                mix.iter().map(|channel| channel[start..length.min(start + piece)].to_vec()).collect();
            stream.push(&part, wanted, &mut voice).unwrap();
        }
        stream.flush(wanted, &mut voice).unwrap();
        (voice, stream.take_separated())
    }

    #[test]
    fn windows_and_one_piece_give_the_same_voice() {
        let band = Band::new();
        let window = SPEC.window as usize;
        for length in [1, 100, 4_410, window - 1, window, window + 1, 50_000, 44_100 * 5, 44_100 * 61 + 7] {
            for channels in 1..=2 {
                let mix: Vec<_> = (0..channels).map(|seed| noise(length, seed + 1)).collect();
                let (voice, separated) = stream(&mix, 44_100, &mut |_| true);
                for (mix, voice) in mix.iter().zip(&voice) {
                    let error = error_db(&band.whole(mix), voice);
                    assert!(error < -60.0, "{length} samples of {channels}: {error:.1} dB");
                }
                assert_eq!(separated.first().unwrap().start, 0);
                assert_eq!(separated.last().unwrap().end, length as u64);
                assert!(separated.windows(2).all(|pair| pair[0].end == pair[1].start));
            }
        }
    }

    #[test]
    fn ten_minutes_in_windows_and_in_one_piece_give_the_same_voice() {
        let mix = [noise(600 * 44_100, 5)];
        let (voice, _) = stream(&mix, 100_000, &mut |_| true);
        // Of the one piece, stretches: all its frames would take a gigabyte. Their ends are not compared.
        let (piece, end) = (44_100 * 20 / 512 * 512, 8_192);
        for start in (0..mix[0].len() - piece).step_by(piece - 2 * end) {
            let range = start + end..start + piece - end;
            let whole = Band::new().whole(&mix[0][start..start + piece]);
            let error = error_db(&whole[end..piece - end], &voice[0][range]);
            assert!(error < -60.0, "from sample {start}: {error:.1} dB");
        }
    }

    #[test]
    fn what_nobody_wants_is_the_sound_itself() {
        let mix = [noise(300_000, 1), noise(300_000, 2)];
        let mut asked = Vec::new();
        let (voice, separated) = stream(&mix, 7_777, &mut |span| {
            asked.push(span);
            false
        });
        assert_eq!(voice, mix);
        assert!(separated.is_empty());
        assert_eq!(asked.first().unwrap().start, 0);
        assert_eq!(asked.last().unwrap().end, 300_000);
        assert!(asked.windows(2).all(|pair| pair[0].end > pair[1].start), "they are faded into each other");
    }

    #[test]
    fn voice_and_sound_fade_into_each_other() {
        // A tone outside the band: nothing of it is left where the model ran.
        let mix = [(0..400_000).map(|n| (n as f32 * 1.5).sin()).collect::<Vec<_>>()];
        let region = TimeSpan::new(150_000, 160_000);
        let (voice, separated) = stream(&mix, 10_000, &mut |span| span.common(region) > 0);
        let [first, .., last] = separated[..] else { panic!("{separated:?}") };
        assert!(first.start <= region.start && last.end >= region.end);
        let (start, end) = (first.start as usize, last.end as usize);
        assert_eq!(voice[0][..start], mix[0][..start]);
        assert_eq!(voice[0][end..], mix[0][end..]);
        let loudest =
            |range: std::ops::Range<usize>| voice[0][range].iter().fold(0.0_f32, |a, v| a.max(v.abs()));
        assert!(loudest(150_000..160_000) < 1e-3);
        // Full at its outer end, gone at its inner one, and between them something between.
        assert!(loudest(start..start + 100) > 0.9 && loudest(end - 100..end) > 0.9);
        let middle = loudest(start + 3_000..start + 3_100);
        assert!((0.3..0.8).contains(&middle), "{middle}");
    }

    #[test]
    fn a_flushed_stream_takes_another_recording() {
        let mix = [noise(90_000, 1)];
        let mut stream = VoiceStream::new(Band::new(), 1);
        let mut twice = [Vec::new(), Vec::new()];
        for voice in &mut twice {
            let voice = std::slice::from_mut(voice);
            stream.push(&mix, &mut |_| true, voice).unwrap();
            stream.flush(&mut |_| true, voice).unwrap();
        }
        assert_eq!(twice[0], twice[1]);
        let mut nothing = [Vec::new()];
        stream.flush(&mut |_| true, &mut nothing).unwrap();
        assert!(nothing[0].is_empty());
    }

    #[test]
    fn memory_stays_within_a_few_windows() {
        let mut stream = VoiceStream::new(Band::new(), 1);
        let mut voice = [Vec::new()];
        for _ in 0..500 {
            stream.push(&[noise(5_000, 1)], &mut |_| false, &mut voice).unwrap();
            voice[0].clear();
            assert!(stream.mix[0].len() <= 2 * SPEC.window as usize + 5_000);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn pieces_of_any_length_give_the_same_voice(
            length in 1_usize..200_000,
            piece in 1_usize..60_000,
            wishes in any::<u64>(),
        ) {
            let mix = [noise(length, 9)];
            let wanted = |span: TimeSpan| wishes >> (span.start / 20_000 % 64) & 1 == 1;
            let (voice, separated) = stream(&mix, piece, &mut { wanted });
            prop_assert_eq!(voice[0].len(), length);
            let (at_once, spans) = stream(&mix, length, &mut { wanted });
            prop_assert_eq!(&voice, &at_once);
            prop_assert_eq!(&separated, &spans);
            prop_assert!(separated.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
    }
}
