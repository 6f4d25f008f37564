//! Files to 16 kHz mono: whole files, and resampling alone.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::Criterion;
use diarist::audio::resample::MonoResampler;
use diarist::audio::{AudioBlock, AudioOptions, AudioSource, PcmSpool, decode_to_spool};
use diarist::cancel::CancelToken;
use diarist::time::SAMPLE_RATE;

use crate::{fixture, noise, sound};

/// One fixture of each codec and container, seconds long: opening the file counts.
const FILES: [&str; 11] = [
    "wav_s16_16000.wav",
    "wav_adpcm_ima_16000.wav",
    "flac_24bit_96000.flac",
    "alac_16000.m4a",
    "aiff_s16_8000.aiff",
    "mp3_cbr_44100_stereo.mp3",
    "aac_48000_faststart.mp4",
    "aac_adts_44100.aac",
    "vorbis_44100_stereo.ogg",
    "opus_48000_stereo.ogg",
    "opus_file.webm",
];

/// Rates from telephone to studio, in Hz.
const RATES: [u32; 4] = [8_000, 44_100, 48_000, 96_000];

/// Length of the sound that is resampled, in seconds.
const SECONDS: u32 = 10;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for name in FILES {
        let path = fixture("encodings").join(name);
        group.throughput(sound(decode(&path).len()));
        group.bench_function(name, |bencher| bencher.iter(|| decode(&path)));
    }
    group.finish();

    let mut group = criterion.benchmark_group("resample");
    group.throughput(sound(u64::from(SECONDS * SAMPLE_RATE)));
    for rate in RATES {
        let channel: Vec<f32> = noise((rate * SECONDS) as usize).collect();
        let block = AudioBlock { sample_rate: rate, channels: vec![channel.clone(), channel] };
        group.bench_function(format!("{rate} Hz stereo"), |bencher| bencher.iter(|| resample(&block)));
    }
    group.finish();
}

/// A recording as the later stages read it.
pub fn decode(path: &Path) -> Arc<PcmSpool> {
    let options =
        AudioOptions { scratch: diarist::scratch::Scratch::default(), max_duration_s: 3_600, ffmpeg: None };
    let source = AudioSource { path: path.to_owned(), name: None };
    decode_to_spool(&source, &options, &CancelToken::new()).unwrap().spool
}

fn resample(block: &AudioBlock) {
    let mut resampler = MonoResampler::new();
    let mut out = Vec::new();
    resampler.push(block, &mut out);
    resampler.flush(&mut out);
    black_box(out);
}
