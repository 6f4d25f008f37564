//! The audio room from outside: every encoding, damaged files, files that are no audio, and limits.
//!
//! The encodings and how they were made are described in `fixtures/audio/encodings/README.md`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use diarist::audio::{AudioError, AudioOptions, AudioSource, Decoded, decode_to_spool};
use diarist::cancel::CancelToken;
use diarist::error::ErrorKind;
use diarist::time::{TimeSpan, samples_to_seconds};
use proptest::prelude::*;

/// Where the last sentence, which the bulky encodings carry, lies in the source, in samples.
const LAST_SENTENCE: std::ops::Range<usize> = 72_000..94_400;

/// What a decoder may do to the sound.
#[derive(Clone, Copy)]
enum Content {
    /// All three sentences.
    Whole,
    /// The last one.
    Last,
}

use Content::{Last, Whole};

/// File, what it carries, and the least signal-to-noise ratio in dB against the source after the source's
/// own band limit: exact for lossless kinds at 16 kHz, low for lossy codecs at low bit rates and for rates
/// that cut the band.
const ENCODINGS: &[(&str, Content, f64)] = &[
    ("source.wav", Whole, 90.0),
    ("wav_mulaw_8000.wav", Whole, 8.0),
    ("flac_16000.flac", Whole, 90.0),
    ("mp3_cbr_44100_stereo.mp3", Whole, 12.0),
    ("mp3_vbr_48000.mp3", Whole, 12.0),
    ("mp3_mpeg2_16000.mpga", Whole, 12.0),
    ("mp3_mpeg2_22050.mpeg", Whole, 12.0),
    ("mp3_without_header_44100.mp3", Whole, 12.0),
    ("aac_44100_stereo_moov_last.m4a", Whole, 12.0),
    ("aac_48000_faststart.mp4", Whole, 12.0),
    ("aac_44100_fragmented.mp4", Whole, 12.0),
    ("aac_48000_6_channels.m4a", Whole, 12.0),
    ("aac_adts_44100.aac", Whole, 12.0),
    ("aac_44100_video.mp4", Whole, 12.0),
    ("aac_48000_video.mov", Whole, 12.0),
    ("aac_44100_video.mkv", Whole, 12.0),
    ("vorbis_44100_stereo.ogg", Whole, 8.0),
    ("vorbis_16000.oga", Whole, 8.0),
    ("opus_48000_stereo.ogg", Whole, 8.0),
    ("opus_mono.opus", Whole, 8.0),
    ("opus_file.webm", Whole, 8.0),
    ("opus_unknown_size.webm", Whole, 8.0),
    ("vorbis_48000.webm", Whole, 8.0),
    ("opus_video.mkv", Whole, 8.0),
    ("wav_u8_8000_stereo.wav", Last, 8.0),
    ("wav_s16_16000.wav", Last, 90.0),
    ("wav_alaw_8000.wav", Last, 8.0),
    ("wav_adpcm_ima_16000.wav", Last, 20.0),
    ("wav_s24_11025.wav", Last, 8.0),
    ("wav_s32_8000.wav", Last, 8.0),
    ("wav_f32_8000.wav", Last, 8.0),
    ("wav_f64_8000.wav", Last, 8.0),
    ("wav_adpcm_ms_22050.wav", Last, 20.0),
    ("wav_rf64_8000.wav", Last, 8.0),
    ("wav_s16_8000_streamed.wav", Last, 8.0),
    ("aiff_s16_8000.aiff", Last, 8.0),
    ("caf_s16_8000.caf", Last, 8.0),
    ("alac_16000.m4a", Last, 90.0),
    ("flac_in_ogg_16000.oga", Last, 90.0),
    ("flac_24bit_96000.flac", Last, 25.0),
    ("flac_192000.flac", Last, 25.0),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio/encodings").join(name)
}

fn options() -> AudioOptions {
    AudioOptions { temp_dir: std::env::temp_dir(), max_duration_s: 3_600, ffmpeg: None }
}

fn decode(path: &Path) -> Result<Decoded, AudioError> {
    let source = AudioSource { path: path.to_owned(), name: None };
    decode_to_spool(&source, &options(), &CancelToken::new())
}

/// Decodes bytes by way of a file without a telling name.
fn decode_bytes(bytes: &[u8]) -> Result<Decoded, AudioError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    decode(file.path())
}

fn samples(decoded: &Decoded) -> Vec<f32> {
    let mut out = Vec::new();
    decoded.spool.read(TimeSpan::new(0, decoded.spool.len()), &mut out);
    out
}

fn seconds(decoded: &Decoded) -> f64 {
    samples_to_seconds(decoded.spool.len())
}

fn source_samples(content: Content) -> Vec<f32> {
    let whole = samples(&decode(&fixture("source.wav")).unwrap());
    match content {
        Whole => whole,
        Last => whole[LAST_SENTENCE].to_vec(),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Samples by which `heard` is later than `source`, within ±100 ms, and the correlation there.
fn lag_and_correlation(source: &[f32], heard: &[f32]) -> (i64, f64) {
    let correlation = |lag: i64| {
        let (a, b) = if lag >= 0 {
            (source, heard.get(lag as usize..).unwrap_or_default())
        } else {
            (source.get(-lag as usize..).unwrap_or_default(), heard)
        };
        let length = a.len().min(b.len());
        let (a, b) = (&a[..length], &b[..length]);
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
    };
    (-1_600..=1_600).map(|lag| (lag, correlation(lag))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

#[test]
fn probe_print() {
    for (name, content, _) in ENCODINGS {
        let source = source_samples(*content);
        match decode(&fixture(name)) {
            Ok(decoded) => {
                let heard = samples(&decoded);
                let (lag, correlation) = lag_and_correlation(&source, &heard);
                println!("{name:34} {:32} {:+.4} s  lag {lag:5}  corr {correlation:.5} {:?}", decoded.description, seconds(&decoded) - source.len() as f64/16000.0, decoded.warnings.iter().map(|w|w.code).collect::<Vec<_>>());
            }
            Err(error) => println!("{name} ERROR {error}"),
        }
    }
}
