//! Writes the voice's own track: the separated voice where there is one, elsewhere the mix, sample for sample.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::audio::{AudioError, PcmSpool, SpoolWriter};
use crate::time::{SampleIndex, TimeSpan, ms_to_samples};

use super::vocals::Notes;

/// Over how much the mix's samples go over into the voice's where separation begins and ends. The sounds themselves are
/// cross-faded over much more; this hides that one of them has been to another rate and back.
const FADE: SampleIndex = ms_to_samples(20);

/// Samples written at a time.
const BATCH: SampleIndex = 16_384;

/// Takes the voice as it comes, at 16 kHz, and the spans in which it is not the mix.
pub(super) struct VoiceWriter {
    mix: Arc<PcmSpool>,
    writer: SpoolWriter,
    notes: Arc<Notes>,
    /// The voice from the first sample on that has not been written.
    pub voice: Vec<f32>,
    /// Not yet written past; sorted, disjoint.
    separated: VecDeque<TimeSpan>,
    sound: Vec<f32>,
}

impl VoiceWriter {
    /// Writes what belongs beside `mix` into `writer`.
    pub fn new(mix: Arc<PcmSpool>, writer: SpoolWriter, notes: Arc<Notes>) -> Self {
        Self { mix, writer, notes, voice: Vec::new(), separated: VecDeque::new(), sound: Vec::new() }
    }

    /// The voice is not the mix in `span`, which begins no earlier than the last one and not before what
    /// has been written.
    pub fn separated(&mut self, span: TimeSpan) {
        // Before its samples can be read.
        self.notes.add(span);
        match self.separated.back_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => self.separated.push_back(span),
        }
    }

    /// Writes what is settled: the mix may lag behind, and a span that ends with the voice may go on.
    ///
    /// # Errors
    /// When there is no room.
    pub fn write(&mut self) -> Result<(), AudioError> {
        let known = self.writer.len() + self.voice.len() as SampleIndex;
        self.write_until(known.saturating_sub(FADE).min(self.mix.len()))
    }

    /// The mix is complete: writes the rest of it.
    ///
    /// # Errors
    /// As `write`.
    pub fn finish(mut self) -> Result<(), AudioError> {
        self.write_until(self.mix.len())?;
        self.writer.finish().map(drop)
    }

    fn write_until(&mut self, end: SampleIndex) -> Result<(), AudioError> {
        while self.writer.len() < end {
            let start = self.writer.len();
            let span = TimeSpan::new(start, end.min(start + BATCH));
            self.mix.read(span, &mut self.sound);
            for region in &self.separated {
                blend(&mut self.sound, span, &self.voice, *region);
            }
            self.writer.push(&self.sound)?;
            self.voice.drain(..self.voice.len().min(self.sound.len()));
            while self.separated.front().is_some_and(|region| region.end <= span.end) {
                self.separated.pop_front();
            }
        }
        Ok(())
    }
}

/// Puts the part of `voice` that lies in `region` over `sound`; both begin where `span` does. Where the voice has ended
/// early, by the rounding of lengths, the sound stays.
fn blend(sound: &mut [f32], span: TimeSpan, voice: &[f32], region: TimeSpan) {
    let common = region.clamped(span);
    let range = (common.start - span.start) as usize..(common.end - span.start) as usize;
    let samples = sound.iter_mut().zip(voice).enumerate().take(range.end).skip(range.start);
    for (index, (sound, voice)) in samples {
        let at = span.start + index as SampleIndex;
        let inside = (at - region.start).min(region.end - 1 - at) as f32 + 0.5;
        let share = (inside / FADE as f32).min(1.0);
        *sound = if share < 1.0 { *sound + share * (voice - *sound) } else { *voice };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn spool() -> SpoolWriter {
        SpoolWriter::create(&Scratch::default()).unwrap()
    }

    fn samples(spool: &PcmSpool) -> Vec<f32> {
        let mut samples = Vec::new();
        spool.read(TimeSpan::new(0, spool.len()), &mut samples);
        samples
    }

    /// What is written of a voice of 0.25 and a mix of 0.75.
    fn written(length: usize, voice: usize, separated: &[(u64, u64)], piece: usize) -> Vec<f32> {
        let (mut mix, track) = (spool(), spool());
        mix.push(&vec![0.75; length]).unwrap();
        let (mix, out) = (mix.finish().unwrap(), track.spool());
        let mut writer = VoiceWriter::new(mix, track, Arc::new(Notes::default()));
        let mut spans = separated.iter().map(|(start, end)| TimeSpan::new(*start, *end)).peekable();
        let mut given = 0;
        while given < voice {
            let next = piece.min(voice - given);
            given += next;
            while let Some(span) = spans.next_if(|span| span.start < given as u64) {
                writer.separated(span);
            }
            writer.voice.extend(std::iter::repeat_n(0.25, next));
            writer.write().unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(out.total(), Some(length as u64));
        samples(&out)
    }

    #[test]
    fn the_mix_is_the_voice_where_nothing_was_separated() {
        for voice in [0, 29_990, 30_000, 30_010] {
            assert_eq!(written(30_000, voice, &[], 7_000), vec![0.75; 30_000]);
        }
    }

    #[test]
    fn the_voice_begins_and_ends_softly() {
        let at = written(60_000, 60_000, &[(20_000, 40_000)], 60_000);
        assert!(at[..20_000].iter().chain(&at[40_000..]).all(|sample| *sample == 0.75));
        assert!(at[20_320..39_680].iter().all(|sample| *sample == 0.25));
        assert!((at[20_160] - 0.5).abs() < 0.01 && (at[39_840] - 0.5).abs() < 0.01);
        assert!(at.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.003), "no step is heard");
    }

    #[test]
    fn it_makes_no_difference_how_the_voice_comes() {
        let spans = [(0, 20_000), (20_000, 31_000), (50_000, 50_100), (70_000, 90_000)];
        let at_once = written(80_000, 79_995, &spans, 100_000);
        for piece in [100, 1_000, 19_999, 33_333] {
            assert_eq!(written(80_000, 79_995, &spans, piece), at_once, "pieces of {piece}");
        }
    }
}
