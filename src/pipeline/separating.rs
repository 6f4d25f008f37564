//! The stage beside decoding that writes the voice's own track.
//!
//! ```text
//! blocks at their own rate ┬→ 16 kHz mono → mix spool ┬→ music? ────────┐
//!                          └→ model's rate, waits ←───┼─ decided so far ┘
//!                             → VoiceStream → 16 kHz ─┴→ VoiceWriter → voice spool
//! ```
//!
//! It runs on the decoder's thread, so that neither runs ahead of the other; whoever reads the voice waits for it as for any
//! spool that grows. In `auto`, sound waits for some eight seconds until it is known whether it is music.
//! Read next: `separation::stream`, `voice_writer`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::audio::resample::{MonoResampler, Resampler};
use crate::audio::{AudioBlock, AudioError, BlockSink, PcmSpool, SpoolWriter};
use crate::cancel::CancelToken;
use crate::separation::music::MusicDetector;
use crate::separation::stream::VoiceStream;
use crate::separation::{SeparationError, VocalSeparator};
use crate::time::{SAMPLE_RATE, SampleIndex, TimeSpan};

use super::Stage;
use super::vocals::{Notes, Separation, SeparationMode};
use super::voice_writer::VoiceWriter;

/// Samples read from the mix at a time.
const BATCH: SampleIndex = 16_384;

/// Takes the blocks and writes the voice.
pub(super) struct Separating {
    separator: Arc<dyn VocalSeparator>,
    mix: Arc<PcmSpool>,
    wish: Wish,
    /// Made for the first block's channels.
    lane: Option<Lane>,
    /// `None` once the recording has ended.
    voice: Option<VoiceWriter>,
    notes: Arc<Notes>,
    span: tracing::Span,
}

impl Separating {
    /// A stage that writes the voice of what goes into `mix` with `writer`, until `cancel` is set.
    pub fn new(
        Separation { lent, mode }: Separation,
        mix: Arc<PcmSpool>,
        writer: SpoolWriter,
        notes: Arc<Notes>,
        cancel: CancelToken,
    ) -> Self {
        let voice = VoiceWriter::new(Arc::clone(&mix), writer, Arc::clone(&notes));
        Self {
            separator: lent.separator,
            mix,
            wish: Wish { music: (mode == SeparationMode::Auto).then(Music::default), cancel },
            lane: None,
            voice: Some(voice),
            notes,
            span: Stage::Separation.span(),
        }
    }

    fn take(&mut self, block: &AudioBlock) -> Result<(), AudioError> {
        let Some(voice) = &mut self.voice else { return Ok(()) };
        let separator = &self.separator;
        let lane = self.lane.get_or_insert_with(|| Lane::new(separator, block.channels.len()));
        lane.resampler.push(block, &mut lane.waiting);
        let decided = self.wish.listen(&self.mix);
        let heard = lane.hear(decided, &mut self.wish, voice);
        self.wish.outcome(heard, &self.notes)?;
        voice.write()
    }

    fn end(&mut self) -> Result<(), AudioError> {
        let Some(mut voice) = self.voice.take() else { return Ok(()) };
        self.wish.listen_to_the_end(&self.mix);
        if let Some(lane) = &mut self.lane {
            let heard = lane.hear_the_rest(&mut self.wish, &mut voice);
            self.wish.outcome(heard, &self.notes)?;
        }
        voice.finish()
    }

    /// Runs a part of the work, keeping the time.
    fn timed(&mut self, work: impl FnOnce(&mut Self) -> Result<(), AudioError>) -> Result<(), AudioError> {
        let span = self.span.clone();
        let start = Instant::now();
        let result = span.in_scope(|| work(self));
        self.notes.spend(start.elapsed());
        result
    }
}

impl BlockSink for Separating {
    fn push(&mut self, block: &AudioBlock) -> Result<(), AudioError> {
        self.timed(|stage| stage.take(block))
    }

    fn finish(&mut self) -> Result<(), AudioError> {
        self.timed(Self::end)
    }
}

/// The way of the sound: to the model's rate, through the model, and back to 16 kHz.
struct Lane {
    resampler: Resampler,
    /// At the model's rate, not yet heard.
    waiting: Vec<Vec<f32>>,
    stream: VoiceStream,
    /// Samples given to `stream`.
    given: SampleIndex,
    back: MonoResampler,
    rate: u32,
}

impl Lane {
    /// For a recording of `channels` channels; of more than two the model hears two.
    fn new(separator: &Arc<dyn VocalSeparator>, channels: usize) -> Self {
        let (rate, channels) = (separator.spec().sample_rate, channels.clamp(1, 2));
        Self {
            resampler: Resampler::new(rate, channels),
            waiting: vec![Vec::new(); channels],
            stream: VoiceStream::new(Arc::clone(separator), channels),
            given: 0,
            back: MonoResampler::new(),
            rate,
        }
    }

    /// Lets the model hear what lies before `decided`, on the 16 kHz clock.
    fn hear(
        &mut self,
        decided: SampleIndex,
        wish: &mut Wish,
        out: &mut VoiceWriter,
    ) -> Result<(), SeparationError> {
        let until = u128::from(decided) * u128::from(self.rate) / u128::from(SAMPLE_RATE);
        let waiting = self.waiting[0].len() as SampleIndex;
        let count = until.saturating_sub(self.given.into()).min(waiting.into()) as usize;
        let piece: Vec<Vec<f32>> =
            self.waiting.iter_mut().map(|side| side.drain(..count).collect()).collect();
        self.given += count as SampleIndex;
        let (rate, mut voice) = (self.rate, vec![Vec::new(); piece.len()]);
        self.stream.push(&piece, &mut |span| wish.is_wanted(on_our_clock(span, rate)), &mut voice)?;
        self.bring_back(voice, out);
        Ok(())
    }

    /// The recording has ended.
    fn hear_the_rest(&mut self, wish: &mut Wish, out: &mut VoiceWriter) -> Result<(), SeparationError> {
        self.resampler.flush(&mut self.waiting);
        self.hear(SampleIndex::MAX, wish, out)?;
        let (rate, mut voice) = (self.rate, vec![Vec::new(); self.waiting.len()]);
        self.stream.flush(&mut |span| wish.is_wanted(on_our_clock(span, rate)), &mut voice)?;
        self.bring_back(voice, out);
        self.back.flush(&mut out.voice);
        Ok(())
    }

    fn bring_back(&mut self, voice: Vec<Vec<f32>>, out: &mut VoiceWriter) {
        for span in self.stream.take_separated() {
            out.separated(on_our_clock(span, self.rate));
        }
        self.back.push(&AudioBlock { sample_rate: self.rate, channels: voice }, &mut out.voice);
    }
}

/// The span on the 16 kHz clock that holds `span`, which counts samples at `rate`.
fn on_our_clock(span: TimeSpan, rate: u32) -> TimeSpan {
    let (rate, ours) = (u128::from(rate), u128::from(SAMPLE_RATE));
    let (start, end) = (u128::from(span.start) * ours / rate, (u128::from(span.end) * ours).div_ceil(rate));
    TimeSpan::new(start as SampleIndex, end as SampleIndex)
}

/// What is to be separated.
struct Wish {
    /// Where music plays; `None` where everything is wanted.
    music: Option<Music>,
    cancel: CancelToken,
}

impl Wish {
    /// Up to where it is known what is wanted, once all of the mix that can be read has been listened to.
    fn listen(&mut self, mix: &PcmSpool) -> SampleIndex {
        self.music.as_mut().map_or(SampleIndex::MAX, |music| music.listen(mix))
    }

    /// The mix is complete.
    fn listen_to_the_end(&mut self, mix: &PcmSpool) {
        if let Some(music) = &mut self.music {
            music.listen(mix);
            music.end();
        }
    }

    /// Whether anything in `span` is to be separated; nothing any more when the request has been cancelled.
    fn is_wanted(&mut self, span: TimeSpan) -> bool {
        !self.cancel.is_cancelled() && self.music.as_mut().is_none_or(|music| music.plays_in(span))
    }

    /// What became of a part of the work.
    fn outcome(&self, heard: Result<(), SeparationError>, notes: &Notes) -> Result<(), AudioError> {
        heard.map_err(|error| notes.fail(error))?;
        // What was skipped then is no voice.
        if self.cancel.is_cancelled() { Err(AudioError::Cancelled) } else { Ok(()) }
    }
}

/// Where music plays in the mix.
#[derive(Default)]
struct Music {
    detector: MusicDetector,
    heard: SampleIndex,
    found: Vec<TimeSpan>,
    /// Sorted; may adjoin. What nobody asks for any more is forgotten.
    regions: VecDeque<TimeSpan>,
    samples: Vec<f32>,
}

impl Music {
    fn listen(&mut self, mix: &PcmSpool) -> SampleIndex {
        let end = mix.len();
        while self.heard < end {
            let next = end.min(self.heard + BATCH);
            mix.read(TimeSpan::new(self.heard, next), &mut self.samples);
            self.detector.push(&self.samples, &mut self.found);
            self.heard = next;
        }
        self.regions.extend(self.found.drain(..));
        self.detector.decided()
    }

    fn end(&mut self) {
        self.detector.flush(&mut self.found);
        self.regions.extend(self.found.drain(..));
    }

    /// Whether music plays anywhere in `span`; spans must be asked for in the order of their starts.
    fn plays_in(&mut self, span: TimeSpan) -> bool {
        while self.regions.front().is_some_and(|region| region.end <= span.start) {
            self.regions.pop_front();
        }
        self.regions.front().is_some_and(|region| region.start < span.end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocals::LentSeparator;
    use super::*;
    use crate::scratch::Scratch;
    use crate::separation::SeparatorSpec;

    /// Turns the sound's sign, so that it shows where it was heard.
    struct Mirror;

    impl VocalSeparator for Mirror {
        fn spec(&self) -> SeparatorSpec {
            SeparatorSpec { sample_rate: 44_100, window: 60 * 1_024, hop: 1_024, margin: 4_096 }
        }

        fn separate(&self, mix: &[Vec<f32>], voice: &mut [Vec<f32>]) -> Result<(), SeparationError> {
            for (mix, voice) in mix.iter().zip(voice) {
                voice.iter_mut().zip(mix).for_each(|(voice, mix)| *voice = -mix);
            }
            Ok(())
        }
    }

    /// The mix and the voice of `seconds` of sound from `source(channel, seconds)`.
    fn tracks(
        rate: u32,
        channels: usize,
        seconds: f64,
        mode: SeparationMode,
        source: impl Fn(usize, f64) -> f64,
    ) -> [Vec<f32>; 2] {
        let create = || SpoolWriter::create(&Scratch::default()).unwrap();
        let (mut writer, track) = (create(), create());
        let (mix, voice) = (writer.spool(), track.spool());
        let lent = LentSeparator { id: "mirror".into(), separator: Arc::new(Mirror) };
        let (separation, notes) = (Separation { lent, mode }, Arc::new(Notes::default()));
        let mut stage = Separating::new(separation, Arc::clone(&mix), track, notes, CancelToken::new());
        let mut resampler = MonoResampler::new();
        let frames = (seconds * f64::from(rate)) as usize;
        for start in (0..frames).step_by(9_973) {
            let range = start..frames.min(start + 9_973);
            let channel = |channel| {
                range.clone().map(|n| source(channel, n as f64 / f64::from(rate)) as f32).collect::<Vec<_>>()
            };
            let block = AudioBlock { sample_rate: rate, channels: (0..channels).map(channel).collect() };
            let mut samples = Vec::new();
            resampler.push(&block, &mut samples);
            writer.push(&samples).unwrap();
            stage.push(&block).unwrap();
        }
        let mut samples = Vec::new();
        resampler.flush(&mut samples);
        writer.push(&samples).unwrap();
        writer.finish().unwrap();
        stage.finish().unwrap();
        [mix, voice].map(|spool| {
            let mut samples = Vec::new();
            spool.read(TimeSpan::new(0, spool.total().unwrap()), &mut samples);
            samples
        })
    }

    fn voices(channel: usize, t: f64) -> f64 {
        let tone = |pitch: f64| (std::f64::consts::TAU * pitch * t).sin();
        0.2 * tone(310.0) + 0.1 * tone(1_234.0 + 100.0 * channel as f64)
    }

    #[test]
    fn the_voice_is_as_long_as_the_mix_and_lies_beside_it_to_the_sample() {
        for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000] {
            for channels in [1, 2, 6] {
                for seconds in [0.1, 1.0, 7.3] {
                    let [mix, voice] = tracks(rate, channels, seconds, SeparationMode::On, voices);
                    assert_eq!(voice.len(), mix.len(), "{rate} Hz, {channels} channels, {seconds} s");
                    // All of it was heard, but for the fades at both ends and what filters do there.
                    let inside = mix.len() / 4..mix.len() * 3 / 4;
                    let worst = inside.map(|at| (mix[at] + voice[at]).abs()).fold(0.0, f32::max);
                    assert!(worst < 2e-3, "{rate} Hz, {channels} channels, {seconds} s: off by {worst}");
                }
            }
        }
    }

    #[test]
    fn where_no_music_plays_the_voice_is_the_mix_to_the_bit() {
        let [mix, voice] = tracks(44_100, 2, 21.7, SeparationMode::Auto, voices);
        assert!(mix == voice);
    }

    #[test]
    fn music_is_heard_and_what_lies_far_from_it_is_the_mix_to_the_bit() {
        // Chords of five tones, which change every second, from 20 to 30 s.
        let chords = |_: usize, t: f64| {
            let chord = t.floor() % 7.0;
            let tones = (0..5).map(|n| 220.0 * 2f64.powf((chord * 3.0 + f64::from(n) * 5.0) / 12.0));
            let music: f64 = tones.map(|pitch| 0.05 * (std::f64::consts::TAU * pitch * t).sin()).sum();
            if (20.0..30.0).contains(&t) { music } else { 0.01 * (t * 7_919.0).sin() }
        };
        for rate in [16_000, 44_100, 48_000] {
            let [mix, voice] = tracks(rate, 2, 50.0, SeparationMode::Auto, chords);
            let at = |seconds: usize| seconds * SAMPLE_RATE as usize;
            assert!(mix[..at(16)] == voice[..at(16)] && mix[at(34)..] == voice[at(34)..], "{rate} Hz");
            let worst = (at(21)..at(29)).map(|n| (mix[n] + voice[n]).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-3, "{rate} Hz: off by {worst}");
        }
    }

    #[test]
    fn what_is_held_back_does_not_grow_with_the_recording() {
        let create = || SpoolWriter::create(&Scratch::default()).unwrap();
        let (mut writer, track) = (create(), create());
        let lent = LentSeparator { id: "mirror".into(), separator: Arc::new(Mirror) };
        let separation = Separation { lent, mode: SeparationMode::Auto };
        let notes = Arc::new(Notes::default());
        let mut stage = Separating::new(separation, writer.spool(), track, notes, CancelToken::new());
        for _ in 0..300 {
            let block = AudioBlock { sample_rate: 16_000, channels: vec![vec![0.1; 16_000]; 2] };
            writer.push(&block.channels[0]).unwrap();
            stage.push(&block).unwrap();
            let waiting = stage.lane.as_ref().unwrap().waiting[0].len();
            let voice = stage.voice.as_ref().unwrap().voice.len();
            assert!(waiting < 10 * 44_100 && voice < 16_000, "{waiting}, {voice}");
        }
    }
}
