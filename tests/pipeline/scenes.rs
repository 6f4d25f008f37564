//! Sound without words, made by arithmetic: silence, noises, music. The same seed gives the same samples.

use std::f32::consts::TAU;

use diarist::time::SAMPLE_RATE;

const RATE: f32 = SAMPLE_RATE as f32;

/// A kind of sound in which nobody speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Digital silence.
    Silence,
    /// Equal power at every frequency.
    White,
    /// Power falling with frequency, as in rooms and streets.
    Pink,
    /// Pink noise that swells and fades every few seconds, as wind does.
    Wind,
    /// Mains at 50 Hz with its overtones.
    Hum,
    /// Single clicks at uneven times over faint noise.
    Clicks,
    /// Slow chords of soft tones.
    Pads,
    /// A plucked melody over a bass.
    Melody,
    /// Bass drum, snare and cymbals.
    Drums,
    /// Drums, bass, chords and a melody with vibrato together.
    Band,
}

impl Scene {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Silence,
        Self::White,
        Self::Pads,
        Self::Pink,
        Self::Melody,
        Self::Wind,
        Self::Drums,
        Self::Hum,
        Self::Band,
        Self::Clicks,
    ];

    /// `length` samples in [-1, 1] with a root mean square of about `level` (silence excepted).
    pub fn render(self, length: usize, level: f32, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        let mut samples = match self {
            Self::Silence => vec![0.0; length],
            Self::White => (0..length).map(|_| random.signed()).collect(),
            Self::Pink => pink(length, &mut random),
            Self::Wind => wind(length, &mut random),
            Self::Hum => hum(length),
            Self::Clicks => clicks(length, &mut random),
            Self::Pads => pads(length, &mut random),
            Self::Melody => melody(length, &mut random),
            Self::Drums => drums(length, &mut random),
            Self::Band => band(length, &mut random),
        };
        bring_to(&mut samples, level);
        samples
    }
}

/// Scales to a root mean square of `level`; what would pass full scale is cut.
fn bring_to(samples: &mut [f32], level: f32) {
    let power = samples.iter().map(|s| f64::from(s * s)).sum::<f64>() / samples.len().max(1) as f64;
    let gain = if power > 0.0 { level / power.sqrt() as f32 } else { 0.0 };
    samples.iter_mut().for_each(|s| *s = (*s * gain).clamp(-1.0, 1.0));
}

/// Xorshift (Marsaglia 2003).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    /// In [-1, 1].
    fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Paul Kellet's filter of white noise ("pk3", musicdsp.org, public domain).
fn pink(length: usize, random: &mut Random) -> Vec<f32> {
    let (mut b0, mut b1, mut b2) = (0.0, 0.0, 0.0);
    (0..length)
        .map(|_| {
            let white = random.signed();
            b0 = 0.997_65 * b0 + white * 0.099_046;
            b1 = 0.963 * b1 + white * 0.296_516_4;
            b2 = 0.57 * b2 + white * 1.052_691_3;
            b0 + b1 + b2 + white * 0.1848
        })
        .collect()
}

fn wind(length: usize, random: &mut Random) -> Vec<f32> {
    let mut samples = pink(length, random);
    for (i, sample) in samples.iter_mut().enumerate() {
        let t = i as f32 / RATE;
        *sample *= 0.15 + (0.5 + 0.5 * (TAU * 0.17 * t).sin()) * (0.6 + 0.4 * (TAU * 0.61 * t).sin());
    }
    samples
}

fn hum(length: usize) -> Vec<f32> {
    let overtone = |t: f32, n: f32| (TAU * ((50.0 * n * t) % 1.0)).sin() / n;
    (0..length)
        .map(|i| {
            // Whole seconds change nothing, and small numbers keep their digits.
            let t = (i % SAMPLE_RATE as usize) as f32 / RATE;
            [1.0, 2.0, 3.0, 5.0, 7.0].iter().map(|n| overtone(t, *n)).sum()
        })
        .collect()
}

fn clicks(length: usize, random: &mut Random) -> Vec<f32> {
    let mut samples: Vec<f32> = (0..length).map(|_| random.signed() * 0.002).collect();
    let mut at = random.below(8_000);
    while at < length {
        for (n, sample) in samples[at..].iter_mut().take(120).enumerate() {
            *sample += random.signed() * (-(n as f32) / 20.0).exp();
        }
        at += 2_000 + random.below(24_000);
    }
    samples
}

/// Adds a tone of `overtones` partials that fade with their number, shaped by `envelope(seconds)`.
fn tone(samples: &mut [f32], frequency: f32, overtones: usize, envelope: impl Fn(f32) -> f32) {
    for partial in 1..=overtones {
        let pitch = frequency * partial as f32;
        if pitch > RATE * 0.45 {
            break;
        }
        let mut phase = 0.0f32;
        for (n, sample) in samples.iter_mut().enumerate() {
            *sample += phase.sin() * envelope(n as f32 / RATE) / (partial * partial) as f32;
            phase = (phase + TAU * pitch / RATE) % TAU;
        }
    }
}

/// The samples from `from` on, `length` of them if there are so many.
fn part(samples: &mut [f32], from: usize, length: usize) -> &mut [f32] {
    let end = (from + length).min(samples.len());
    &mut samples[from..end]
}

/// Frequency of the note `steps` semitones above A at 110 Hz.
fn note(steps: i32) -> f32 {
    110.0 * 2f32.powf(steps as f32 / 12.0)
}

/// Roots of a progression and whether the chord is minor.
const CHORDS: [(i32, bool); 4] = [(3, false), (0, true), (8, false), (10, false)];

/// A minor pentatonic scale.
const SCALE: [i32; 5] = [0, 3, 5, 7, 10];

fn pads(length: usize, random: &mut Random) -> Vec<f32> {
    let mut samples = vec![0.0; length];
    let bar = SAMPLE_RATE as usize * 3;
    let shift = random.below(12) as i32;
    for (index, from) in (0..length).step_by(bar).enumerate() {
        let (root, minor) = CHORDS[index % CHORDS.len()];
        for step in [0, if minor { 3 } else { 4 }, 7, 12] {
            let swell = |t: f32| (t / 0.6).min(1.0) * ((3.2 - t) / 0.8).clamp(0.0, 1.0);
            tone(part(&mut samples, from, bar + bar / 10), note(root + step + shift), 3, swell);
        }
    }
    samples
}

fn melody(length: usize, random: &mut Random) -> Vec<f32> {
    let mut samples = vec![0.0; length];
    let beat = SAMPLE_RATE as usize / 4;
    let shift = random.below(12) as i32;
    for (index, from) in (0..length).step_by(beat).enumerate() {
        let pluck = |t: f32| (t / 0.005).min(1.0) * (-t * 5.0).exp();
        if random.below(4) > 0 {
            let steps = SCALE[random.below(SCALE.len())] + 12 * random.below(2) as i32 + 12 + shift;
            tone(part(&mut samples, from, beat * 4), note(steps), 5, pluck);
        }
        if index % 4 == 0 {
            let root = CHORDS[index / 16 % CHORDS.len()].0 - 12 + shift;
            tone(part(&mut samples, from, beat * 4), note(root), 3, |t| {
                (t / 0.01).min(1.0) * (-t * 2.5).exp()
            });
        }
    }
    samples
}

fn drums(length: usize, random: &mut Random) -> Vec<f32> {
    let mut samples = vec![0.0; length];
    let eighth = SAMPLE_RATE as usize * 60 / 110 / 2;
    for (index, from) in (0..length).step_by(eighth).enumerate() {
        burst(&mut samples[from..], 0.25, 60.0, random);
        match index % 8 {
            0 | 3 | 4 => kick(&mut samples[from..]),
            _ => {}
        }
        if index % 4 == 2 {
            burst(&mut samples[from..], 0.9, 18.0, random);
        }
    }
    samples
}

/// A bass drum: a tone that falls from 150 to 50 Hz.
fn kick(samples: &mut [f32]) {
    let mut phase = 0.0f32;
    for (n, sample) in samples.iter_mut().take(5_000).enumerate() {
        let t = n as f32 / RATE;
        phase += TAU * (50.0 + 100.0 * (-t * 30.0).exp()) / RATE;
        *sample += phase.sin() * (-t * 9.0).exp() * 1.5;
    }
}

/// Noise that fades at `rate` per second: a cymbal or a snare.
fn burst(samples: &mut [f32], gain: f32, rate: f32, random: &mut Random) {
    for (n, sample) in samples.iter_mut().take(6_000).enumerate() {
        *sample += random.signed() * gain * (-(n as f32 / RATE) * rate).exp();
    }
}

fn band(length: usize, random: &mut Random) -> Vec<f32> {
    let mut samples = pads(length, random);
    let add = |samples: &mut [f32], other: Vec<f32>, gain: f32| {
        samples.iter_mut().zip(other).for_each(|(sample, other)| *sample += other * gain);
    };
    add(&mut samples, melody(length, random), 1.2);
    add(&mut samples, drums(length, random), 1.0);
    // A lead with vibrato, the nearest to a voice that an organ comes.
    let mut phase = 0.0f32;
    let mut pitch = note(12);
    for (n, sample) in samples.iter_mut().enumerate() {
        if n % (SAMPLE_RATE as usize / 2) == 0 {
            pitch = note(12 + SCALE[random.below(SCALE.len())]);
        }
        let vibrato = 1.0 + 0.01 * (TAU * 5.5 * (n % SAMPLE_RATE as usize) as f32 / RATE).sin();
        phase = (phase + TAU * pitch * vibrato / RATE) % TAU;
        *sample += 0.5 * (phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (3.0 * phase).sin());
    }
    samples
}
