//! Speech under music that leaves the band of a voice alone but for its edges: a bass below it, chimes, strings and cymbals
//! above it. A filter that keeps that band does what a separator does, and a recogniser without one hears it all.

use std::f32::consts::TAU;
use std::path::Path;

use diarist::audio::AudioBlock;
use diarist::audio::resample::Resampler;
use diarist::time::SAMPLE_RATE;

use crate::scenes::Random;
use crate::support::{Spoken, bare_speech, sentences};

/// Rate of the recordings, in Hz.
pub const RATE: u32 = 44_100;

/// How loud bass and treble are beside speech of a root mean square of about 0.1.
const BASS: f32 = 0.5;
const TREBLE: f32 = 0.25;

/// How long a note takes to come and to go, in seconds.
const EDGE_S: f32 = 0.06;

/// Notes of the bass, in Hz, and of what plays above a voice.
const LOW: [f32; 7] = [49.0, 55.0, 65.4, 73.4, 82.4, 98.0, 110.0];
const HIGH: [f32; 11] =
    [4_186.0, 4_435.0, 4_699.0, 4_978.0, 5_274.0, 5_588.0, 5_920.0, 6_272.0, 6_645.0, 7_040.0, 7_459.0];

/// A recording in two channels: speech in the middle, music around it.
pub struct Song {
    /// Planar samples at `RATE`.
    pub channels: [Vec<f32>; 2],
    pub spoken: Vec<Spoken>,
}

/// Between two sentences, in seconds.
const PAUSE_S: f64 = 0.6;

/// Sentences `first`, `first` + 1, … of the fixtures, `count` of them, and music under all of it.
pub fn song(first: usize, count: usize) -> Song {
    under_music(speech(first, count, PAUSE_S), first as u64)
}

/// The same with pauses of `pause_s` seconds.
pub fn slow_song(first: usize, count: usize, pause_s: f64) -> Song {
    under_music(speech(first, count, pause_s), first as u64)
}

/// The same without music.
pub fn talk(first: usize, count: usize) -> Song {
    speech(first, count, PAUSE_S)
}

fn under_music(mut song: Song, seed: u64) -> Song {
    let length = song.channels[0].len();
    let mut random = Random::new(seed + 1);
    let mut low = vec![0.0; length];
    notes(&mut low, 0.9, &mut random, &LOW, |t| (-t * 1.2).exp() * BASS);
    song.channels.iter_mut().for_each(|channel| add(channel, &low));
    for channel in &mut song.channels {
        notes(channel, 0.6, &mut random, &HIGH, |t| (-t * 2.0).exp() * TREBLE);
        notes(channel, 1.5, &mut random, &HIGH, |_| TREBLE * 0.7);
        cymbals(channel, 0.25, &mut random);
    }
    song
}

fn speech(first: usize, count: usize, pause: f64) -> Song {
    let (mut samples, mut spoken) = (Vec::new(), Vec::new());
    let all = sentences();
    for sentence in all.iter().cycle().skip(first).take(count) {
        let (bare, text) = bare_speech(sentence);
        samples.resize(samples.len() + (pause * SAMPLE_RATE as f64) as usize, 0.0);
        let start = samples.len() as f64 / f64::from(SAMPLE_RATE);
        samples.extend(bare.iter().map(|sample| f32::from(*sample) / 32_768.0));
        spoken.push(Spoken { text, start, end: samples.len() as f64 / f64::from(SAMPLE_RATE) });
    }
    samples.resize(samples.len() + (pause * SAMPLE_RATE as f64) as usize, 0.0);
    let (mut resampler, mut out) = (Resampler::new(RATE, 1), [Vec::new()]);
    resampler.push(&AudioBlock { sample_rate: SAMPLE_RATE, channels: vec![samples] }, &mut out);
    resampler.flush(&mut out);
    let [channel] = out;
    Song { channels: [channel.clone(), channel], spoken }
}

impl Song {
    /// Writes it as 16 bit WAV.
    pub fn write(&self, path: &Path) {
        self.write_again_and_again(path, self.seconds());
    }

    /// Writes it over and over, until the recording is so long.
    pub fn write_again_and_again(&self, path: &Path, seconds: f64) {
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        let [left, right] = &self.channels;
        let frames = (seconds * f64::from(RATE)).round() as usize;
        let song = left.iter().zip(right).cycle().take(frames);
        for sample in song.flat_map(|(left, right)| [left, right]) {
            writer.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).unwrap();
        }
        writer.finalize().unwrap();
    }

    /// Another one behind it.
    pub fn followed_by(mut self, other: Self) -> Self {
        let offset = self.channels[0].len() as f64 / f64::from(RATE);
        for (channel, other) in self.channels.iter_mut().zip(other.channels) {
            channel.extend(other);
        }
        let later = |sentence: Spoken| Spoken {
            start: sentence.start + offset,
            end: sentence.end + offset,
            ..sentence
        };
        self.spoken.extend(other.spoken.into_iter().map(later));
        self
    }

    /// What is spoken.
    pub fn text(&self) -> String {
        self.spoken.iter().map(|sentence| sentence.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Length, in seconds.
    pub fn seconds(&self) -> f64 {
        self.channels[0].len() as f64 / f64::from(RATE)
    }
}

/// A note every `beat` seconds that sounds for two beats.
fn notes(samples: &mut [f32], beat: f32, random: &mut Random, scale: &[f32], envelope: impl Fn(f32) -> f32) {
    let beat = (beat * RATE as f32) as usize;
    for from in (0..samples.len()).step_by(beat) {
        let pitch = scale[random.below(scale.len())];
        let end = samples.len().min(from + 2 * beat);
        for (n, sample) in samples[from..end].iter_mut().enumerate() {
            let t = n as f32 / RATE as f32;
            // Begins and ends softly: a click would sound everywhere.
            let edge = (n.min(2 * beat - n) as f32 / (EDGE_S * RATE as f32)).min(1.0);
            let softness = 0.5 - 0.5 * (TAU / 2.0 * edge).cos();
            *sample += (TAU * (pitch * t % 1.0)).sin() * envelope(t) * softness;
        }
    }
}

/// Bursts of noise, of which two differences leave mostly what lies above 5 kHz.
fn cymbals(samples: &mut [f32], beat: f32, random: &mut Random) {
    let beat = (beat * RATE as f32) as usize;
    for from in (0..samples.len()).step_by(beat) {
        let end = samples.len().min(from + beat);
        let mut last = [0.0; 4];
        for (n, sample) in samples[from..end].iter_mut().enumerate() {
            let white = (random.below(65_536) as f32 / 32_768.0 - 1.0) * (-(n as f32) / 3_000.0).exp();
            let bright = white - 4.0 * last[0] + 6.0 * last[1] - 4.0 * last[2] + last[3];
            last = [white, last[0], last[1], last[2]];
            *sample += bright * 0.01;
        }
    }
}

fn add(samples: &mut [f32], other: &[f32]) {
    samples.iter_mut().zip(other).for_each(|(sample, other)| *sample += other);
}

/// Words that must be inserted, deleted or replaced to make `heard` what was `spoken`, over the words spoken. Letters
/// and digits count, in lower case.
pub fn word_error_rate(spoken: &str, heard: &str) -> f64 {
    let words = |text: &str| -> Vec<String> {
        let bare =
            |word: &str| word.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect()
    };
    let (spoken, heard) = (words(spoken), words(heard));
    // Levenshtein's distance, a row at a time.
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in spoken.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in heard.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[heard.len()] as f64 / spoken.len() as f64
}
