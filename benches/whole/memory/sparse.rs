//! A recording as long as wanted, of which somebody speaks in two fifths.

use std::path::Path;

use diarist::time::{SAMPLE_RATE, samples_to_seconds};

use crate::recordings::{Spoken, bare_speech, sentences, wav_writer};

/// Shortest gap between two sentences, and the range above it, in samples: 2.6 to 4.6 s.
const GAP: u64 = 41_600;
const GAP_RANGE: u64 = 32_000;

/// Loudest noise in a gap, in 16-bit steps: -80 dB of full scale. Digital silence would cost next to nothing.
const NOISE: u32 = 3;

/// Writes the fixtures' sentences in turn, about `seconds` long in all; nothing is held in memory.
pub fn recording(path: &Path, seconds: u64) -> Vec<Spoken> {
    let pieces: Vec<(Vec<i16>, String)> = sentences().iter().map(bare_speech).collect();
    let mut writer = wav_writer(path);
    let (mut written, mut truth) = (0_u64, Vec::new());
    let mut noise = 1_u32;
    let mut quiet = move || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 16) % (2 * NOISE + 1)
    };
    for index in 0_u64.. {
        if written >= seconds * u64::from(SAMPLE_RATE) {
            break;
        }
        // Never the same twice in a row.
        let gap = GAP + (index * 12_347) % GAP_RANGE;
        (0..gap).for_each(|_| writer.write_sample(quiet() as i16 - NOISE as i16).unwrap());
        let (samples, text) = &pieces[(index as usize * 7) % pieces.len()];
        samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
        let start = written + gap;
        written = start + samples.len() as u64;
        let (start, end) = (samples_to_seconds(start), samples_to_seconds(written));
        truth.push(Spoken { text: text.clone(), start, end });
    }
    (0..GAP).for_each(|_| writer.write_sample(quiet() as i16 - NOISE as i16).unwrap());
    writer.finalize().unwrap();
    truth
}
