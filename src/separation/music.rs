//! Where music plays, under speech too. Pure.
//!
//! Instruments hold their tones: a partial stays at one frequency for a good part of a second, while those of a voice
//! glide with its melody, and those of noise come and go. So spectral peaks are followed from frame to frame, and what counts
//! is how many that hold still sound at a time (the idea of continuous frequency activation: Seyerlehner, Pohle, Schedl,
//! Widmer, "Automatic Music Detection in Television Productions", DAFx 2007). Tones that never end (mains hum, a fan, the whine of a
//! screen) are no music. Percussion alone is not found. Read next: `tests/music.rs`, which measures it.

use std::collections::VecDeque;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::time::{SAMPLE_RATE, SampleIndex, TimeSpan};

/// Samples of a frame, 128 ms: bins of 7.8 Hz tell a voice's glides from an instrument's tones.
const FRAME: usize = 2_048;

/// Samples from one frame to the next, 32 ms.
const HOP: usize = 512;

/// What is decided at once: a second.
const CELL: SampleIndex = SAMPLE_RATE as SampleIndex;

/// Bins on either side with which a peak is compared.
const NEIGHBOURHOOD: usize = 12;

/// How far a peak stands out of its neighbourhood, in dB.
const PROMINENCE_DB: f32 = 9.0;

/// Weaker peaks are not looked at, in dB of a full-scale sine.
const FLOOR_DB: f32 = -75.0;

/// Lowest bin looked at (63 Hz).
const LOWEST_BIN: usize = 8;

/// How far a tone may wander from one frame to the next and from where it began, in bins.
const STEP_BINS: f32 = 0.6;
const DRIFT_BINS: f32 = 0.8;

/// Frames that a tone may be missing from while it sounds.
const MAX_MISSES: u64 = 2;

/// Shortest stretch that counts, in frames: 0.35 s.
const SHORTEST: u64 = 11;

/// A tone that comes back within so many frames (1 s) as loud as it was, in dB, never ended: speech covers mains hum now
/// and then. A note that is played again begins louder than the last one ended.
const PAUSE: u64 = frames(1);
const SAME_LEVEL_DB: f32 = 3.0;

/// How much of a tone's mean level is its past.
const LEVEL_MEMORY: f32 = 0.9;

/// Longest life of a tone, its pauses included, in frames; what lives longer is no music.
const LONGEST: u64 = frames(6);

/// Frames in so many seconds.
const fn frames(seconds: u64) -> u64 {
    seconds * SAMPLE_RATE as u64 / HOP as u64
}

/// Tones at a time, averaged over three cells, from which on music plays, and below which it has stopped.
const ONSET: f32 = 2.0;
const OFFSET: f32 = 1.0;

/// Finds music in 16 kHz mono sound as it comes, in cells of a second. Memory does not grow with the length.
pub struct MusicDetector {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// Not yet in a frame, or still needed for the next one.
    samples: Vec<f32>,
    taken: SampleIndex,
    frame: u64,
    tones: Vec<Tone>,
    cells: Cells,
    buffers: Buffers,
}

#[derive(Default)]
struct Buffers {
    windowed: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    levels: Vec<f32>,
    sums: Vec<f32>,
    peaks: Vec<Peak>,
}

/// A peak of one frame's spectrum: bins, and dB of a full-scale sine.
#[derive(Clone, Copy)]
struct Peak {
    bin: f32,
    level: f32,
}

/// A spectral peak that has been followed for a while; frequencies in bins, times in frames.
struct Tone {
    began_at: f32,
    bin: f32,
    /// Mean of late.
    level: f32,
    first: u64,
    last: u64,
    /// Where the stretch began in which it sounds now, or sounded last.
    stretch: u64,
    /// First and last frame of earlier stretches that are long enough to count.
    stretches: Vec<(u64, u64)>,
}

impl Tone {
    fn new(Peak { bin, level }: Peak, frame: u64) -> Self {
        Self { began_at: bin, bin, level, first: frame, last: frame, stretch: frame, stretches: Vec::new() }
    }

    fn fits(&self, peak: Peak, frame: u64) -> bool {
        let is_near =
            (peak.bin - self.bin).abs() <= STEP_BINS && (peak.bin - self.began_at).abs() <= DRIFT_BINS;
        is_near && (self.sounds_until(frame) || (peak.level - self.level).abs() <= SAME_LEVEL_DB)
    }

    /// Whether it has not paused before `frame`.
    fn sounds_until(&self, frame: u64) -> bool {
        frame <= self.last + MAX_MISSES + 1
    }

    fn sound(&mut self, peak: Peak, frame: u64) {
        if !self.sounds_until(frame) {
            self.end_stretch();
            self.stretch = frame;
        }
        self.bin = peak.bin;
        self.level = LEVEL_MEMORY * self.level + (1.0 - LEVEL_MEMORY) * peak.level;
        self.last = frame;
    }

    fn end_stretch(&mut self) {
        // Nobody asks for those of a tone that lives too long.
        if self.last + 1 - self.stretch >= SHORTEST && self.last - self.first < LONGEST {
            self.stretches.push((self.stretch, self.last));
        }
    }

    /// How long it is remembered after it sounded last: what sounded but for a moment may be noise.
    fn memory(&self) -> u64 {
        if self.last + 1 - self.stretch >= SHORTEST || !self.stretches.is_empty() {
            PAUSE
        } else {
            MAX_MISSES
        }
    }

    /// The stretches that count as music.
    fn into_stretches(mut self) -> Vec<(u64, u64)> {
        self.end_stretch();
        if self.last - self.first < LONGEST { self.stretches } else { Vec::new() }
    }
}

impl Default for MusicDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl MusicDetector {
    /// A detector that has heard nothing.
    pub fn new() -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(FRAME);
        let window =
            (0..FRAME).map(|n| 0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / FRAME as f32).cos()).collect();
        let buffers = Buffers {
            windowed: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            ..Buffers::default()
        };
        Self {
            fft,
            window,
            samples: Vec::with_capacity(2 * FRAME),
            taken: 0,
            frame: 0,
            tones: Vec::new(),
            cells: Cells::default(),
            buffers,
        }
    }

    /// Takes the next samples, in [-1, 1]. Appends to `found` what is decided to be music: sorted spans of whole cells, which
    /// may adjoin.
    pub fn push(&mut self, mut samples: &[f32], found: &mut Vec<TimeSpan>) {
        self.taken += samples.len() as SampleIndex;
        while !samples.is_empty() {
            let room = FRAME - self.samples.len();
            let (now, later) = samples.split_at(room.min(samples.len()));
            self.samples.extend_from_slice(now);
            samples = later;
            if self.samples.len() == FRAME {
                self.listen();
                self.samples.drain(..HOP);
            }
        }
        // A tone that sounds now began at most `LONGEST` ago, or does not count.
        let settled = self.frame.saturating_sub(LONGEST + PAUSE + 1) * HOP as u64 / CELL;
        self.cells.decide(settled, found);
    }

    /// The recording has ended: decides the rest, up to its last sample.
    pub fn flush(&mut self, found: &mut Vec<TimeSpan>) {
        for tone in std::mem::take(&mut self.tones) {
            self.cells.add(tone);
        }
        let before = found.len();
        self.cells.decide_all(self.taken.div_ceil(CELL), found);
        if let Some(last) = found[before..].last_mut() {
            last.end = last.end.min(self.taken);
        }
    }

    /// Samples up to which it is decided where music plays.
    pub fn decided(&self) -> SampleIndex {
        self.cells.decided() * CELL
    }

    fn listen(&mut self) {
        self.find_peaks();
        self.follow();
        self.frame += 1;
    }

    /// Peaks of the next frame, lowest first.
    fn find_peaks(&mut self) {
        let Buffers { windowed, spectrum, scratch, levels, sums, peaks } = &mut self.buffers;
        for ((out, sample), weight) in windowed.iter_mut().zip(&self.samples).zip(&self.window) {
            *out = sample * weight;
        }
        self.fft
            .process_with_scratch(windowed, spectrum, scratch)
            .expect("the buffers are the transform's own");
        // A full-scale sine under a Hann window peaks at a quarter of the frame.
        let scale = 16.0 / (FRAME * FRAME) as f32;
        levels.clear();
        levels.extend(spectrum.iter().map(|bin| 10.0 * (bin.norm_sqr() * scale + 1e-12).log10()));
        running_sums(levels, sums);
        peaks.clear();
        for bin in LOWEST_BIN..levels.len() - 2 {
            let level = levels[bin];
            let is_highest = level > levels[bin - 1]
                && level >= levels[bin + 1]
                && level > levels[bin - 2]
                && level > levels[bin + 2];
            if is_highest && level > FLOOR_DB && level > around(sums, bin) + PROMINENCE_DB {
                let bin = bin as f32 + vertex(levels[bin - 1], level, levels[bin + 1]);
                peaks.push(Peak { bin, level });
            }
        }
    }

    /// Goes on with the tones that the frame's peaks belong to; ends and begins the others.
    fn follow(&mut self) {
        let Self { tones, buffers: Buffers { peaks, .. }, frame, cells, .. } = self;
        for tone in tones.iter_mut() {
            if let Some(at) = peaks.iter().position(|peak| tone.fits(*peak, *frame)) {
                tone.sound(peaks.swap_remove(at), *frame);
            }
        }
        for tone in tones.extract_if(.., |tone| tone.last + tone.memory() < *frame) {
            cells.add(tone);
        }
        tones.extend(peaks.drain(..).map(|peak| Tone::new(peak, *frame)));
    }
}

/// How many tones sound in each second, and which of those seconds are music.
#[derive(Default)]
struct Cells {
    /// From cell `first` on: seconds of tones in it.
    tones: VecDeque<f32>,
    first: u64,
    /// Of the cell before `first`.
    before: f32,
    is_music: bool,
    /// Whether the cell before `first` was undecided because the next one might be music.
    held: bool,
}

impl Cells {
    fn decided(&self) -> u64 {
        self.first - u64::from(self.held)
    }

    fn add(&mut self, tone: Tone) {
        let hop = HOP as SampleIndex;
        // Frames count at their middles.
        let at = |frame: u64| frame * hop + (FRAME / 2) as SampleIndex;
        for (first, last) in tone.into_stretches() {
            self.add_span(TimeSpan::new(at(first), at(last) + hop));
        }
    }

    fn add_span(&mut self, span: TimeSpan) {
        for cell in span.start / CELL..=(span.end - 1) / CELL {
            let Some(slot) = cell.checked_sub(self.first).map(|slot| slot as usize) else { continue };
            if self.tones.len() <= slot {
                self.tones.resize(slot + 1, 0.0);
            }
            let common = span.common(TimeSpan::new(cell * CELL, (cell + 1) * CELL));
            self.tones[slot] += common as f32 / CELL as f32;
        }
    }

    /// Decides what can be once all tones of the cells before `settled` are known.
    fn decide(&mut self, settled: u64, found: &mut Vec<TimeSpan>) {
        // The mean reaches a cell further.
        while self.first + 1 < settled {
            self.decide_next(found);
        }
    }

    fn decide_all(&mut self, end: u64, found: &mut Vec<TimeSpan>) {
        while self.first < end {
            self.decide_next(found);
        }
        self.held = false;
    }

    /// Music is widened by a cell on either side: tones fade in and out.
    fn decide_next(&mut self, found: &mut Vec<TimeSpan>) {
        let now = self.tones.pop_front().unwrap_or(0.0);
        let next = self.tones.front().copied().unwrap_or(0.0);
        let mean = (self.before + now + next) / 3.0;
        let was_music = self.is_music;
        self.is_music = mean >= if was_music { OFFSET } else { ONSET };
        let cell = |index: u64| TimeSpan::new(index * CELL, (index + 1) * CELL);
        if self.is_music && self.held {
            found.push(cell(self.first - 1));
        }
        if self.is_music || was_music {
            found.push(cell(self.first));
        }
        self.held = !(self.is_music || was_music);
        self.before = now;
        self.first += 1;
    }
}

/// `sums[n]` is the sum of the first `n` values.
fn running_sums(values: &[f32], sums: &mut Vec<f32>) {
    sums.clear();
    sums.push(0.0);
    let mut sum = 0.0;
    sums.extend(values.iter().map(|value| {
        sum += value;
        sum
    }));
}

/// The mean around `bin`.
fn around(sums: &[f32], bin: usize) -> f32 {
    let (from, to) = (bin.saturating_sub(NEIGHBOURHOOD), (bin + NEIGHBOURHOOD + 1).min(sums.len() - 1));
    (sums[to] - sums[from]) / (to - from) as f32
}

/// Where the parabola through three levels has its top, in bins from the middle one.
fn vertex(left: f32, middle: f32, right: f32) -> f32 {
    let bend = left - 2.0 * middle + right;
    if bend < 0.0 { (0.5 * (left - right) / bend).clamp(-0.5, 0.5) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Chords of five tones, each for `length` seconds, from `start` seconds on in silence of `seconds`.
    fn chords(seconds: f32, start: f32, length: f32) -> Vec<f32> {
        let count = (seconds * SAMPLE_RATE as f32) as usize;
        let tone = |t: f32, chord: i32, n: i32| {
            let pitch = 220.0 * 2f32.powf((chord * 3 % 12 + n * 5) as f32 / 12.0);
            (std::f32::consts::TAU * pitch * t).sin() * 0.02
        };
        let sample = |index: usize| {
            let t = index as f32 / SAMPLE_RATE as f32;
            let chord = ((t - start) / length).floor() as i32;
            if t < start { 0.0 } else { (0..5).map(|n| tone(t, chord, n)).sum() }
        };
        (0..count).map(sample).collect()
    }

    fn found(samples: &[f32], piece: usize) -> Vec<TimeSpan> {
        let (mut detector, mut found) = (MusicDetector::new(), Vec::new());
        for piece in samples.chunks(piece) {
            detector.push(piece, &mut found);
            let decided = detector.decided();
            assert!(found.last().is_none_or(|last| last.end <= decided), "{found:?}, decided is {decided}");
        }
        detector.flush(&mut found);
        assert!(detector.decided() >= samples.len() as SampleIndex);
        found
    }

    /// Seconds of `found`, which must be sorted and disjoint.
    fn seconds(found: &[TimeSpan]) -> Vec<u64> {
        assert!(found.windows(2).all(|pair| pair[0].end <= pair[1].start), "{found:?}");
        found.iter().flat_map(|span| span.start / CELL..span.end.div_ceil(CELL)).collect()
    }

    #[test]
    fn chords_are_found_where_they_sound() {
        let seconds = seconds(&found(&chords(30.5, 12.0, 1.5), 4_000));
        assert!((10..=12).contains(&seconds[0]), "{seconds:?}");
        assert_eq!(*seconds.last().unwrap(), 30);
        assert_eq!(seconds.len() as u64, 31 - seconds[0]);
        let spans = found(&chords(30.5, 12.0, 1.5), 4_000);
        assert_eq!(spans.last().unwrap().end, 488_000, "no further than the recording");
    }

    #[test]
    fn tones_that_never_end_are_no_music() {
        assert_eq!(found(&chords(40.0, 0.0, 100.0), 4_000), []);
        // Speech covers them now and then.
        let mut covered = chords(40.0, 0.0, 100.0);
        covered.chunks_mut(16_000).for_each(|part| part[..8_000].fill(0.0));
        assert_eq!(found(&covered, 4_000), []);
    }

    #[test]
    fn nothing_and_silence_are_no_music() {
        assert_eq!(found(&[], 1), []);
        assert_eq!(found(&[0.5; 100], 7), []);
        assert_eq!(found(&[0.0; 100_000], 1_000), []);
    }

    #[test]
    fn memory_does_not_grow_with_the_length() {
        let (mut detector, mut found) = (MusicDetector::new(), Vec::new());
        let music = chords(20.0, 0.0, 0.7);
        for _ in 0..30 {
            detector.push(&music, &mut found);
            assert!(detector.cells.tones.len() < 20 && detector.tones.len() < 500);
            assert!(detector.samples.len() < FRAME);
        }
        assert!(found.len() > 550, "{}", found.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn it_makes_no_difference_how_the_sound_comes(piece in 1usize..70_000, start in 0.0f32..8.0) {
            let samples = chords(14.0, start, 1.1);
            prop_assert_eq!(found(&samples, piece), found(&samples, samples.len()));
        }
    }
}
