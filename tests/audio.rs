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

/// File, what it carries, and the least correlation with the source: 1 for lossless kinds at 16 kHz, less
/// where the band is cut at half of a low rate or the codec drops detail.
const ENCODINGS: &[(&str, Content, f64)] = &[
    ("source.wav", Whole, 0.9999),
    ("wav_mulaw_8000.wav", Whole, 0.96),
    ("flac_16000.flac", Whole, 0.9999),
    ("mp3_cbr_44100_stereo.mp3", Whole, 0.95),
    ("mp3_vbr_48000.mp3", Whole, 0.95),
    ("mp3_mpeg2_16000.mpga", Whole, 0.95),
    ("mp3_mpeg2_22050.mpeg", Whole, 0.95),
    ("mp3_without_header_44100.mp3", Whole, 0.95),
    ("aac_44100_stereo_moov_last.m4a", Whole, 0.95),
    ("aac_48000_faststart.mp4", Whole, 0.95),
    ("aac_44100_fragmented.mp4", Whole, 0.95),
    ("aac_adts_44100.aac", Whole, 0.95),
    ("aac_44100_video.mp4", Whole, 0.95),
    ("aac_48000_video.mov", Whole, 0.95),
    ("aac_44100_video.mkv", Whole, 0.95),
    ("vorbis_44100_stereo.ogg", Whole, 0.96),
    ("vorbis_16000.oga", Whole, 0.96),
    ("opus_48000_stereo.ogg", Whole, 0.96),
    ("opus_mono.opus", Whole, 0.96),
    ("opus_file.webm", Whole, 0.96),
    ("opus_unknown_size.webm", Whole, 0.96),
    ("vorbis_48000.webm", Whole, 0.96),
    ("opus_video.mkv", Whole, 0.96),
    ("wav_u8_8000_stereo.wav", Last, 0.96),
    ("wav_s16_16000.wav", Last, 0.9999),
    ("wav_alaw_8000.wav", Last, 0.96),
    ("wav_adpcm_ima_16000.wav", Last, 0.97),
    ("wav_s24_11025.wav", Last, 0.96),
    ("wav_s32_8000.wav", Last, 0.96),
    ("wav_f32_8000.wav", Last, 0.96),
    ("wav_f64_8000.wav", Last, 0.96),
    ("wav_adpcm_ms_22050.wav", Last, 0.97),
    ("wav_rf64_8000.wav", Last, 0.96),
    ("wav_s16_8000_streamed.wav", Last, 0.96),
    ("aiff_s16_8000.aiff", Last, 0.96),
    ("caf_s16_8000.caf", Last, 0.96),
    ("alac_16000.m4a", Last, 0.9999),
    ("flac_in_ogg_16000.oga", Last, 0.9999),
    ("flac_24bit_96000.flac", Last, 0.999),
    ("flac_192000.flac", Last, 0.999),
    ("vorbis_48000_6_channels.ogg", Last, 0.96),
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
    let blocks = a.chunks(256).zip(b.chunks(256));
    blocks.map(|(a, b)| f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>())).sum()
}

/// Samples by which `heard` is later than `source`, within ±50 ms, and the correlation there.
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
    let best = (-800..=800).map(|lag| (lag, correlation(lag))).max_by(|a, b| a.1.total_cmp(&b.1));
    best.unwrap_or((0, 0.0))
}

#[test]
fn every_encoding_gives_the_source_in_place_and_at_its_length() {
    let sources = [source_samples(Whole), source_samples(Last)];
    for (name, content, least_correlation) in ENCODINGS {
        let decoded = decode(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let source = &sources[*content as usize];
        let heard = samples(&decoded);
        let (lag, correlation) = lag_and_correlation(source, &heard);
        let excess = heard.len() as f64 - source.len() as f64;
        println!("{name}: {}, {excess:+} samples, lag {lag}, {correlation:.4}", decoded.description);
        assert!(excess.abs() < 800.0, "{name} is {excess} samples longer than its source");
        assert!(lag.abs() <= 160, "{name} is {lag} samples late");
        assert!(correlation >= *least_correlation, "{name} correlates by {correlation:.4}");
        assert_eq!(decoded.warnings, [], "{name}");
    }
}

#[test]
fn the_description_names_codec_container_rate_and_channels() {
    let described = |name| decode(&fixture(name)).unwrap().description;
    assert_eq!(described("mp3_cbr_44100_stereo.mp3"), "mp3 44100 Hz 2 channels");
    assert_eq!(described("opus_mono.opus"), "opus in ogg 48000 Hz 1 channel");
}

/// Kinds with a frame structure, and whether their first 60 % can be decoded at all: an MP4 file whose
/// index comes last has none when it is cut.
const DAMAGEABLE: &[(&str, bool)] = &[
    ("flac_16000.flac", true),
    ("mp3_cbr_44100_stereo.mp3", true),
    ("mp3_mpeg2_16000.mpga", true),
    ("aac_44100_stereo_moov_last.m4a", false),
    ("aac_48000_faststart.mp4", true),
    ("aac_44100_fragmented.mp4", true),
    ("aac_adts_44100.aac", true),
    ("aac_48000_video.mov", false),
    ("aac_44100_video.mkv", true),
    ("vorbis_44100_stereo.ogg", true),
    ("opus_mono.opus", true),
    ("opus_file.webm", true),
    ("opus_unknown_size.webm", true),
    ("vorbis_48000.webm", true),
    ("alac_16000.m4a", false),
    ("flac_in_ogg_16000.oga", true),
    ("wav_s16_16000.wav", true),
    ("wav_adpcm_ima_16000.wav", true),
    ("aiff_s16_8000.aiff", true),
    ("caf_s16_8000.caf", true),
];

#[test]
fn probe_damage() {
    for (name, _) in DAMAGEABLE {
        let bytes = fs::read(fixture(name)).unwrap();
        let whole = seconds(&decode(&fixture(name)).unwrap());
        let show = |what: &str, bytes: &[u8]| match decode_bytes(bytes) {
            Ok(d) => println!(
                "{name:32} {what:10} {:3.0} % {:?}",
                100.0 * seconds(&d) / whole,
                d.warnings.iter().map(|w| w.code).collect::<Vec<_>>()
            ),
            Err(e) => println!("{name:32} {what:10} ERR {e}"),
        };
        show("cut", &bytes[..bytes.len() * 6 / 10]);
        let mut flipped = bytes.clone();
        for n in 1..=20 {
            let at = flipped.len() * n / 21;
            flipped[at] ^= 0x55;
        }
        show("flip", &flipped);
        let mut noisy = bytes.clone();
        let m = bytes.len() / 2;
        let mut seed = 1u32;
        for b in &mut noisy[m..m + 1500] {
            seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            *b = (seed >> 24) as u8;
        }
        show("noise", &noisy);
    }
}
